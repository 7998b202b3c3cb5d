"""Writes requirements.txt and requirements-dev.txt: the exact versions installed in this environment, no addresses.

`make pins` runs it after a change of dependencies. requirements.txt is what beatctl needs to run; requirements-dev.txt
adds what builds and tests it.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Name and installed version of everything these requirements bring in."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = list(requirements)
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        installed = distribution(name)
        found[name] = installed.version
        for text in installed.requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                todo.append(needed)
    return found


def pinned(versions: dict[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = closure([Requirement(text) for text in project["dependencies"]])
    develop = closure([Requirement(text) for text in project["optional-dependencies"]["dev"]])
    develop = {name: version for name, version in develop.items() if name not in run}
    (ROOT / "requirements.txt").write_text("# What beatctl needs to run. Written by `make pins`.\n" + pinned(run))
    (ROOT / "requirements-dev.txt").write_text(
        "# What builds and tests beatctl. Written by `make pins`.\n-r requirements.txt\n" + pinned(develop)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
