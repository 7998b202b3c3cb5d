"""The Temporal server's program: where it is looked for, and that a broken or unfinished one is never used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beatctl.worker import server_program
from beatctl.worker.server_program import MODULE, VERSION, ServerProgramMissing, find, find_or_fetch, kept_copy

Script = Callable[[str, str], Path]

HALF = "\x7fELF half of a program"


@pytest.fixture
def environ(environment: dict[str, str]) -> dict[str, str]:
    """A machine without a server program, and with no way to the vendor's site."""
    bare = {name: value for name, value in environment.items() if name != "BEATCTL_TEMPORAL_CLI"}
    return {**bare, "PATH": "/usr/bin:/bin", "HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}


@pytest.fixture
def go(program: Path, script: Script, environ: dict[str, str], place: Path) -> Path:
    """A `go` on PATH whose `install` puts the real program where GOBIN says; the file returned counts its builds."""
    built = place / "built"
    made = f'cp "{program}" "$GOBIN/temporal"; echo "$@" >> {built}; echo "$GOOS$GOFLAGS" >> {place / "go-settings"}'
    script("bin/go", f"sleep 0.5; {made}")
    environ["PATH"] = f"{place / 'bin'}:{environ['PATH']}"
    return built


def test_the_named_program_is_used_and_a_wrong_name_is_no_reason_to_use_another(
    environ: dict[str, str], program: Path, script: Script
) -> None:
    environ["BEATCTL_TEMPORAL_CLI"] = str(program)
    assert find_or_fetch(environ, print) == program
    for wrong in ("/nowhere/temporal", str(script("other", "echo something else"))):
        environ["BEATCTL_TEMPORAL_CLI"] = wrong
        with pytest.raises(ServerProgramMissing, match=f"BEATCTL_TEMPORAL_CLI names {wrong}"):
            find_or_fetch(environ, print)


def test_the_program_on_path_is_used_unless_it_cannot_serve(
    environ: dict[str, str], program: Path, script: Script, place: Path
) -> None:
    (place / "bin").mkdir()
    (place / "bin/temporal").symlink_to(program)
    environ["PATH"] = f"{place / 'bin'}:{environ['PATH']}"
    assert find(environ, print) == place / "bin/temporal"

    said: list[str] = []
    (place / "bin/temporal").unlink()
    for text, reason in (("exit 3", "exit code 3"), ("echo old flags", "--db-filename")):
        script("bin/temporal", text)
        assert find(environ, said.append) is None
        assert "Passing over" in said[-1]
        assert reason in said[-1]


def test_a_half_written_copy_is_replaced_and_builds_are_kept(environ: dict[str, str], go: Path, program: Path) -> None:
    kept = kept_copy()
    kept.parent.mkdir(parents=True)
    kept.write_text(HALF)
    kept.chmod(0o755)
    # And what a killed build left.
    left = kept.parent.with_name(f"{kept.parent.name}.new-x")
    left.mkdir()

    said: list[str] = []
    assert find(environ, said.append) is None
    assert find_or_fetch(environ, said.append) == kept
    assert kept.stat().st_size == program.stat().st_size
    assert not left.exists()
    assert "Building it with Go" in "\n".join(said)
    assert MODULE in go.read_text()

    said.clear()
    assert find_or_fetch(environ, said.append) == kept
    assert said == []
    assert len(go.read_text().splitlines()) == 1

    # Cut off since, by a full disk or a copy of the home: the size is known.
    os.truncate(kept, kept.stat().st_size - 1)
    assert find(environ, said.append) is None


def test_two_at_once_build_once_and_the_second_says_that_it_waits(environ: dict[str, str], go: Path) -> None:
    code = "import os; from beatctl.worker.server_program import find_or_fetch; print(find_or_fetch(os.environ, print))"
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert [text.splitlines()[-1] for text in told] == [str(kept_copy())] * 2
    assert len(go.read_text().splitlines()) == 1
    assert sum("waiting for it" in text for text in told) == 1


def test_settings_for_another_project_do_not_spoil_the_build(environ: dict[str, str], go: Path, place: Path) -> None:
    find_or_fetch({**environ, "GOOS": "plan9", "GOFLAGS": "-mod=vendor"}, print)
    assert (place / "go-settings").read_text() == "-buildvcs=false\n"


def test_where_nothing_works_one_message_says_what_to_install(environ: dict[str, str], script: Script) -> None:
    with pytest.raises(ServerProgramMissing, match="Go is not installed") as missing:
        find_or_fetch(environ, print)
    assert "Install the Temporal CLI" in str(missing.value)
    assert "TEMPORAL_ADDRESS" in str(missing.value)

    # A build that fails is told by its last words, and leaves nothing.
    environ["PATH"] = f"{script('bin/go', 'echo no space left on device >&2; exit 1').parent}:{environ['PATH']}"
    with pytest.raises(ServerProgramMissing, match="Build: no space left on device"):
        find_or_fetch(environ, print)
    assert [path.name for path in kept_copy().parent.parent.iterdir()] == [f"temporal-{VERSION}.lock"]


def test_a_download_that_brings_nothing_is_given_up(
    environ: dict[str, str], go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_program, "DOWNLOAD_STALL_S", 0.0)
    said: list[str] = []
    assert find_or_fetch(environ, said.append) == kept_copy()
    assert "The download did not work" in "\n".join(said)


def test_go_install_builds_a_program_that_serves(environ: dict[str, str], original_environment: dict[str, str]) -> None:
    """For real, where Go has built it before: else it would take minutes."""
    tool = shutil.which("go", path=original_environment.get("PATH"))
    if tool is None:
        pytest.skip("Go is not installed")
    where = subprocess.run(
        [tool, "env", "GOCACHE", "GOMODCACHE"], env=original_environment, capture_output=True, text=True, check=True
    ).stdout.split()
    if not Path(where[1], "cache/download/github.com/temporalio/cli/@v", f"v{VERSION}.zip").exists():
        pytest.skip("Go has not built it here before")
    for name in ("HTTPS_PROXY", "https_proxy"):
        environ.pop(name)
        if name in original_environment:
            environ[name] = original_environment[name]
    environ |= {"PATH": f"{Path(tool).parent}:{environ['PATH']}", "GOCACHE": where[0], "GOMODCACHE": where[1]}
    built = find_or_fetch(environ, print)
    said = subprocess.run([str(built), "--version"], capture_output=True, text=True, check=True).stdout
    assert f"temporal version {VERSION}" in said
