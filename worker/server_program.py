"""Where the Temporal server's program comes from, and how it is made when it is nowhere. Standard library only.

In this order: BEATCTL_TEMPORAL_CLI, `temporal` on PATH, the copy beatctl keeps in the user's cache folder, the SDK's
download, `go install`. Download and build happen in a folder beside the kept copy and become it by one rename, so that
what is kept is whole; a lock makes a second beatctl wait for the first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from beatctl.worker.isolation import python_module
from beatctl.worker.run_folder import read_json, write_json

Say = Callable[[str], None]

VERSION = "1.5.1"
MODULE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"
# Newer versions of the program carry a `replace` and can't be installed this way.
GO_INSTALL = [
    "go",
    "install",
    "-v",
    "-ldflags",
    f"-s -w -X github.com/temporalio/cli/temporalcli.Version={VERSION}",
    MODULE,
]
GO_NEEDED = "1.25"

DOWNLOAD_STALL_S = 25.0
"""A download that brings nothing for this long is given up: behind a closed network it may hang."""
PROGRESS_S = 5.0
WAITING_S = 15.0


class ServerProgramMissing(Exception):
    """No Temporal server program, and no way to get one; the text says what to install."""


def find_or_fetch(environ: Mapping[str, str], say: Say) -> Path:
    """The program to run `server start-dev` with; downloaded or built if need be, with progress told to `say`."""
    found = find(environ, say)
    return found if found is not None else fetch(environ, say)


def find(environ: Mapping[str, str], say: Say) -> Path | None:
    """The program, if this machine has one that works."""
    named = environ.get("BEATCTL_TEMPORAL_CLI")
    if named:
        program = shutil.which(named, path=environ.get("PATH"))
        problem = why_unusable(Path(program)) if program else "there is no such program"
        if program is None or problem:
            raise ServerProgramMissing(f"BEATCTL_TEMPORAL_CLI names {named}, which can't be used: {problem}.")
        return Path(program).absolute()
    on_path = shutil.which("temporal", path=environ.get("PATH"))
    if on_path:
        problem = why_unusable(Path(on_path))
        if problem is None:
            return Path(on_path).absolute()
        say(f"Passing over {on_path}: {problem}.")
    kept = kept_copy()
    return kept if is_whole(kept) else None


def kept_copy() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("beatctl") / f"temporal-{VERSION}" / "temporal"


def is_whole(kept: Path) -> bool:
    """Whether the kept copy has the size it was kept with. One without a record (put there by hand) has to run."""
    try:
        size = kept.stat().st_size
    except OSError:
        return False
    recorded = read_json(kept.with_name("whole.json")).get("size")
    return recorded == size if recorded else why_unusable(kept) is None


def why_unusable(program: Path) -> str | None:
    """Why the program can't serve; None when it can. Runs it: a half-written or foreign file shows itself so."""
    try:
        ran = subprocess.run(
            [str(program), "server", "start-dev", "--help"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except OSError as problem:
        return f"it does not run ({problem.strerror})"
    except subprocess.TimeoutExpired:
        return "it does not answer"
    if ran.returncode != 0:
        return f"`server start-dev --help` ended with exit code {ran.returncode}"
    missing = [
        flag for flag in ("--db-filename", "--sqlite-pragma", "--dynamic-config-value") if flag not in ran.stdout
    ]
    return f"its `server start-dev` has no {missing[0]}" if missing else None


def fetch(environ: Mapping[str, str], say: Say) -> Path:
    """Download or build the program and keep it."""
    kept = kept_copy()
    try:
        kept.parent.parent.mkdir(parents=True, exist_ok=True)
        with _lock(kept.parent.with_name(kept.parent.name + ".lock"), say):
            if is_whole(kept):  # another beatctl did it meanwhile
                return kept
            _fetch(environ, kept, say)
    except OSError as problem:
        raise ServerProgramMissing(f"Can't keep the Temporal server in {kept.parent}: {problem}.") from problem
    return kept


def _fetch(environ: Mapping[str, str], kept: Path, say: Say) -> None:
    prefix = f"{kept.parent.name}.new-"
    for left in kept.parent.parent.glob(prefix + "*"):  # of one that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    problems = []
    for way in (_download, _build):
        draft = Path(tempfile.mkdtemp(prefix=prefix, dir=kept.parent.parent))
        try:
            problem = way(environ, draft, say) or why_unusable(draft / kept.name)
            if problem is None:
                write_json(draft / "whole.json", {"size": (draft / kept.name).stat().st_size, "version": VERSION})
                draft.chmod(0o755)
                shutil.rmtree(kept.parent, ignore_errors=True)
                draft.rename(kept.parent)
                say(f"The Temporal server is ready: {kept}")
                return
            problems.append(problem)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    raise ServerProgramMissing(
        "No Temporal server on this machine, and none could be fetched.\n"
        + "".join(f"  {problem}\n" for problem in problems)
        + "Install the Temporal CLI (https://docs.temporal.io/cli; macOS: brew install temporal) so that `temporal` is "
        + f"on PATH, or install Go {GO_NEEDED} or newer and run this again, or name one in BEATCTL_TEMPORAL_CLI. To "
        + "use a server that runs elsewhere, set TEMPORAL_ADDRESS."
    )


def _download(environ: Mapping[str, str], draft: Path, say: Say) -> str | None:
    """The SDK's own download, in a process of its own: the SDK is large, and its download can't be interrupted."""
    say(f"No Temporal server on this machine yet. Downloading it (version {VERSION}) …")
    line = python_module("beatctl.worker.sdk_download", str(draft), VERSION)
    size, moved = 0, time.monotonic()

    def progress(elapsed: float, _output: str) -> str | None:
        nonlocal size, moved
        now = _size(draft)
        if now != size:
            size, moved = now, time.monotonic()
        elif time.monotonic() - moved > DOWNLOAD_STALL_S:
            return None
        return f"downloading: {size / 1e6:.0f} MB, {elapsed:.0f} s" if size else f"connecting, {elapsed:.0f} s"

    code, output = _watch(line, environ, draft, say, progress)
    downloaded = max(draft.iterdir(), key=lambda file: file.stat().st_size, default=None)
    if code == 0 and downloaded:
        downloaded.rename(draft / "temporal")
        return None
    reason = "nothing came" if code is None else _last_line(output)
    say(f"The download did not work ({reason}).")
    return f"Download: {reason}"


def _build(environ: Mapping[str, str], draft: Path, say: Say) -> str | None:
    """`go install` at the pinned version: needs nothing but Go and a module proxy."""
    if shutil.which("go", path=environ.get("PATH")) is None:
        return "Build: Go is not installed (`go` is not on PATH)"
    say("Building it with Go instead. This takes a few minutes, once; it is kept for all loops.")

    def progress(elapsed: float, output: str) -> str:
        downloaded = output.count("go: downloading")
        compiled = output.count("\n") - downloaded
        return f"building: {downloaded} modules downloaded, {compiled} packages compiled, {elapsed:.0f} s"

    # What the user has set for another project must not turn this into a cross build or a build from a vendor folder.
    building = {name: value for name, value in environ.items() if name not in ("GOOS", "GOARCH", "GOFLAGS", "GOWORK")}
    building |= {"GOBIN": str(draft), "GOFLAGS": "-buildvcs=false", "GO111MODULE": "on"}
    building.setdefault("GOTOOLCHAIN", "auto")
    code, output = _watch(GO_INSTALL, building, draft, say, progress)
    return None if code == 0 else f"Build: {_last_line(output)}"


def _watch(
    line: list[str], environ: Mapping[str, str], folder: Path, say: Say, progress: Callable[[float, str], str | None]
) -> tuple[int | None, str]:
    """Run a program to its end, telling every few seconds how far it is. Its exit code (None: given up, because
    `progress` had nothing more to tell) and what it printed. Its whole process group ends with it."""
    started = told = time.monotonic()
    output_file = folder / ".output"
    with output_file.open("wb") as output:
        process = subprocess.Popen(
            line,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.25), output_file.read_text(errors="replace")
            text = progress(time.monotonic() - started, output_file.read_text(errors="replace"))
            if text is None:
                return None, output_file.read_text(errors="replace")
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                say(text)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output_file.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    size = 0
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # renamed since
            size += file.stat().st_size
    return size


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


@contextlib.contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    started = time.monotonic()
    told = started - WAITING_S
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - told >= WAITING_S:
                    told = time.monotonic()
                    say(f"Another beatctl is fetching the Temporal server; waiting for it, {told - started:.0f} s")
                time.sleep(0.1)
        yield
