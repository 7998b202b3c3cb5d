"""The built wheel, installed in an empty environment, as someone who has never seen this repository gets it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Beatctl, remove_tree

pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("cli", "worker", "workflows", "activities")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source archive, and the wheel built from it: what is missing in the archive is missing in the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "-o", str(folder), str(ROOT)], check=True)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(
    built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, original_environment: dict[str, str]
) -> Path:
    """The `beatctl` of an environment that holds the wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    into = ["--python", str(folder / "bin" / "python")]  # to install pip there first takes seconds
    pip = [sys.executable, "-m", "pip", *into, "install", "--quiet", "--disable-pip-version-check"]
    # The tests' own versions: a release of tomorrow must not fail today's tests.
    given = ["--constraint", str(ROOT / "requirements.txt"), str(built[1])]
    subprocess.run([*pip, *given], check=True, env=original_environment)
    return folder / "bin" / "beatctl"


def tracked(folder: str) -> set[str]:
    """The files of one of beatctl's folders, as a checkout has them."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_a_wheel_that_put_a_package_named_cli_or_worker_on_peoples_import_path(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {"beatctl", "beatctl-0.1.0.dist-info"}
    assert "beatctl/py.typed" in names
    for folder in FOLDERS:
        missing = {f"beatctl/{name}" for name in tracked(folder)} - names
        assert not missing, f"not in the wheel: {sorted(missing)}"


def test_a_source_archive_that_cannot_be_worked_with(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    expected = tracked("tests") | tracked("deploy")
    for folder in FOLDERS:
        expected |= {f"src/beatctl/{name}" for name in tracked(folder)}
    assert not expected - names, f"not in the archive: {sorted(expected - names)}"
    single = {
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "pyproject.toml",
        ".ci/run",
        ".dockerignore",
    }
    assert single | {"requirements.txt", "requirements-dev.txt", "src/beatctl/__init__.py"} <= names


@pytest.fixture
def hostile(place: Path) -> Path:
    """A repository whose own packages have the names of ours and of what we import."""
    folder = place / "repository"
    for name in ("cli", "worker", "workflows", "activities", "temporalio", "pydantic"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('took {name} from the repository')\n")
    for name in ("typer", "rich", "platformdirs", "logging", "json"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('took {name} from the repository')\n")
    (folder / "n").write_text("5\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-qm", "all"], cwd=folder, check=True)
    return folder


@pytest.fixture
def command(installed: Path, environment: dict[str, str]) -> Iterator[Beatctl]:
    """The installed command, with PYTHONPATH=. as some shells have it for ever."""
    command = Beatctl({**environment, "PYTHONPATH": "."}, program=installed)
    yield command
    command.close()


def test_a_command_that_takes_its_modules_from_the_repository_it_works_on(command: Beatctl, hostile: Path) -> None:
    assert "beatctl start" in command("--help", cwd=hostile, expect=0).stdout
    assert command("--version", cwd=hostile, expect=0).stdout == "beatctl 0.1.0\n"
    found = command("doctor", "--json", cwd=hostile)
    assert found.json["home"] == str(command.home)

    agent = hostile.parent / "agent.sh"
    agent.write_text("#!/bin/sh\necho $(($(cat n) - 1)) > n.new && mv n.new n\necho one less\n")
    agent.chmod(0o755)
    words = ["start", "lower n", "--eval", "cat n", "--minimize", "--agent", str(agent), "-n", "2", "--json"]
    status = command(*words, cwd=hostile, expect=0).json
    assert (status["outcome"], status["best"]["score"]) == ("improved", 3.0)
    assert (hostile / "n").read_text() == "3\n"


def test_a_demo_that_is_not_in_the_wheel(command: Beatctl, place: Path) -> None:
    done = command("demo", "--json", cwd=place, expect=0).json
    assert done["problem"] is None
    assert [loop["outcome"] for loop in done["loops"]] == ["improved", "reached"]
    remove_tree(Path(done["directory"]).parent)
