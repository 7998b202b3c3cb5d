"""What holds of the project's files themselves: pins, layers, and that the README says what the command can do."""

from __future__ import annotations

import ast
import os
import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import beatctl
from tests.support import Beatctl

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("cli", "worker", "workflows", "activities")


def project() -> dict[str, Any]:
    read: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return read


def pins(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


def test_a_set_up_that_takes_other_versions_than_those_tested() -> None:
    run, develop = pins("requirements.txt"), pins("requirements-dev.txt")
    needed = dict.fromkeys(project()["dependencies"], run)
    needed |= dict.fromkeys(project()["optional-dependencies"]["dev"], run | develop)
    for text, pinned in needed.items():
        requirement = Requirement(text)
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text} is pinned to {version}: make pins"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_a_requirements_file_that_sends_people_to_someone_elses_registry(name: str) -> None:
    for line in (ROOT / name).read_text().splitlines():
        assert re.fullmatch(r"#.*|-r requirements\.txt|[a-z0-9-]+==[0-9a-z.+]+", line), line


def test_a_command_that_tells_another_version_than_its_package() -> None:
    assert beatctl.__version__ == project()["version"]
    assert f"## [{beatctl.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_a_layer_that_calls_back_and_cannot_be_used_without_what_is_above_it() -> None:
    for position, layer in enumerate(LAYERS):
        above = LAYERS[:position]
        for path in (ROOT / "src" / "beatctl" / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    assert not name.startswith(tuple(f"beatctl.{one}" for one in above)), f"{path} imports {name}"


def test_a_script_that_ci_cannot_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def readme_commands() -> list[list[str]]:
    """Every `beatctl …` line of the README's code blocks, in words."""
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("beatctl ")]
    return [shlex.split(line, comments=True) for line in lines]


def test_a_readme_with_commands_and_flags_that_do_not_exist(shared_beatctl: Beatctl, place: Path) -> None:
    commands = readme_commands()
    assert len(commands) > 10
    for words in commands:
        alternatives = [*words[1:2], *(word for before, word in pairwise(words) if before == "|")]
        for name in alternatives:
            told = shared_beatctl(name, "--help", cwd=place, expect=0).stdout
            for flag in (word.strip("[]") for word in words if re.match(r"\[?-", word)):
                assert re.search(rf"(?<!\S){flag}\b", told), f"README: beatctl {name} {flag}"


def test_a_readme_without_the_commands_people_were_promised() -> None:
    text = (ROOT / "README.md").read_text()
    for command in (
        '"fix the failing test in auth.test.ts" --until "npm test"',
        '"reduce bundle size of the dashboard module" --eval "node scripts/measure-bundle.js" --direction minimize',
        '--pipeline --step "refactor the payment module" --step "run the integration tests" '
        '--step "measure test coverage" --until "node scripts/check-coverage.js --min 90"',
    ):
        assert f"beatctl start {command}\n" in text
