"""What a real cluster is made of: Temporal's server and SQL tool, built with Go, and PostgreSQL, from the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VERSION = "1.29.1"
_MODULES = {"server": "go.temporal.io/server/cmd/server", "sql": "go.temporal.io/server/cmd/tools/sql"}
_POSTGRES = ("initdb", "postgres", "pg_dump")


class Missing(Exception):
    """A part can't be had; the text says what to install."""


@dataclass(frozen=True)
class Programs:
    server: Path
    sql: Path
    postgres: Path
    """The folder with PostgreSQL's programs."""


def programs(say: Callable[[str], None]) -> Programs:
    """All of it, built and installed where it is missing. Raises Missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beatctl" / f"cluster-{VERSION}"
    if not all((cache / name).exists() for name in _MODULES):
        _build(cache, say)
    return Programs(cache / "server", cache / "sql", _postgres(say))


def _build(cache: Path, say: Callable[[str], None]) -> None:
    if shutil.which("go") is None:
        raise Missing("Go builds Temporal's server and is not on PATH. Install Go 1.25 or newer.")
    say(f"Building Temporal's server {VERSION} and its SQL tool with Go: some minutes, once.")
    cache.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{cache.name}-", dir=cache.parent))
    try:
        ours = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOWORK")}
        ours |= {"GOBIN": str(draft), "GOFLAGS": "-buildvcs=false"}
        line = ["go", "install", *(f"{module}@v{VERSION}" for module in _MODULES.values())]
        if subprocess.run(line, cwd=draft, env=ours, check=False).returncode:
            raise Missing(f"{' '.join(line)} failed.")
        shutil.rmtree(cache, ignore_errors=True)
        draft.rename(cache)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _postgres(say: Callable[[str], None]) -> Path:
    found = _find_postgres()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing PostgreSQL with apt-get.")
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "postgresql"], check=False)
        found = _find_postgres()
    if found is None:
        raise Missing(f"PostgreSQL's {', '.join(_POSTGRES)} are needed. On Debian, as root: apt-get install postgresql")
    return found


def _find_postgres() -> Path | None:
    """The newest of Debian's versions, which are not on PATH; else PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    named = shutil.which("initdb")
    folders = [*versions, *([Path(named).resolve().parent] if named else [])]
    return next((folder for folder in folders if all((folder / name).exists() for name in _POSTGRES)), None)
