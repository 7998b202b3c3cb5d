"""The worker's image, as far as it can be looked at without building it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path

import pytest

from beatctl.worker import server_program
from tests.deploy.documents import DEPLOY, ROOT

WORKER = DEPLOY / "worker"
DOCKERFILE = (WORKER / "Dockerfile").read_text()
LAYERS = ("cli", "worker", "workflows", "activities")


def instructions(name: str) -> list[str]:
    """What follows an instruction's name, continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [found.strip() for found in re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)]


def arguments() -> dict[str, str]:
    return dict(pair.replace('"', "").split("=", 1) for pair in instructions("ARG"))


def test_a_dockerfile_that_hadolint_has_something_against(place: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, WORKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    # The check is one that can fail.
    wrong = place / "Dockerfile"
    wrong.write_text(DOCKERFILE.replace(arguments()["PYTHON"], "python:latest").replace("--no-install-recommends", ""))
    assert subprocess.run([hadolint, wrong], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_that_the_shell_can_not_read(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


def test_an_image_without_some_of_beatctl_or_with_what_is_not_its_business(place: Path) -> None:
    context = place / "context"
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    sent = [path for path in kept_files() if not is_ignored(path, patterns)]
    for path in sent:
        target = context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target, follow_symlinks=False)
    assert not [path for path in sent if path.split("/")[0] in ("tests", "docs", ".git", ".venv")]
    # What is copied is there.
    for words in instructions("COPY"):
        *sources, _target = (word for word in words.split() if not word.startswith("--"))
        if "--from" not in words:
            assert all((context / source).exists() for source in sources), words
    # And it is all that a wheel is made of.
    line = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(place), str(context)]
    subprocess.run(line, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for layer in LAYERS:
        missing = {f"beatctl/{path}" for path in kept_files(layer)} - names
        assert not missing, missing


def is_ignored(path: str, patterns: list[str]) -> bool:
    """As a .dockerignore has it: the last pattern that matches the path or a folder above it decides."""
    parts = path.split("/")
    tops = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    ignored = False
    for pattern in (line for line in patterns if line and not line.startswith("#")):
        plain = pattern.removeprefix("!")
        names = parts if plain.startswith("**/") else tops
        if any(fnmatch(name, plain.removeprefix("**/")) for name in names):
            ignored = not pattern.startswith("!")
    return ignored


def kept_files(folder: str = ".") -> list[str]:
    """The repository's files below a folder, without what was built."""
    top = ROOT / folder
    found = []
    for path in top.rglob("*"):
        parts = path.relative_to(ROOT).parts
        built = {"__pycache__", ".venv", ".git"} & {*parts} or parts[0].startswith(".coverage")
        if not built and (path.is_symlink() or path.is_file()):
            found.append("/".join(parts))
    return found


def test_agents_of_versions_that_no_test_has_driven() -> None:
    tested = re.search(r"^test-agents:.*?(?=^\w)", (ROOT / "Makefile").read_text(), re.DOTALL | re.MULTILINE)
    assert tested is not None
    script = (WORKER / "install-agents.sh").read_text()
    packages = dict(re.findall(r'package="(\S+)@\$\{(\w+):\?\}"', script))
    assert len(packages) == 4
    for package, variable in packages.items():
        assert f"{package}@{arguments()[variable]}" in tested[0], f"{package} in the image is of another version"
    assert arguments()["AGENTS"] == ""
    assert arguments()["TEMPORAL"] == f"temporalio/temporal:{server_program.VERSION}"


@pytest.mark.parametrize(("agents", "code", "said"), [("", 0, ""), ("claude kodex", 2, 'Unknown agent "kodex"')])
def test_an_image_with_an_agent_nobody_asked_for_or_without_one_that_was(
    agents: str, code: int, said: str, place: Path
) -> None:
    done = subprocess.run(
        ["sh", WORKER / "install-agents.sh", place / "agents"],
        env={"PATH": "/usr/bin:/bin", "AGENTS": agents, "CLAUDE_VERSION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert list((place / "agents").rglob("*")) == [place / "agents" / "bin"]


def test_a_container_that_runs_as_root_or_loses_its_home() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert "--uid 10001" in DOCKERFILE
    assert instructions("VOLUME") == ['["/var/lib/beatctl"]']
    assert "BEATCTL_HOME=/var/lib/beatctl/state" in instructions("ENV")[-1]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("ENTRYPOINT") == ['["tini", "--", "beatctl-container"]']
    assert instructions("HEALTHCHECK")[0].endswith('CMD ["beatctl-ready"]')
    # The programs it starts are put where it looks.
    for program in ("beatctl-container.sh", "beatctl-ready.py"):
        target = f"/usr/local/bin/{program.split('.')[0]}"
        assert f"--chmod=0755 deploy/worker/{program} {target}" in instructions("COPY")


def test_an_image_that_is_made_of_others_tomorrow_or_holds_a_secret() -> None:
    for name in ("PYTHON", "NODE", "TEMPORAL"):
        assert re.search(r":v?\d+\.\d+\.\d+", arguments()[name]), name
    assert not [name for name in arguments() if re.search("KEY|TOKEN|SECRET|PASSWORD", name)]
