"""Running git for beatctl's own purposes: nothing of the caller's environment or configuration gets in.

Hooks, file system monitors, signing, filters, replaced objects and lazy fetches are off, paths are literal and bytes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .problems import WorkspaceProblem, no_space

CONFIG = Path(__file__).with_name("git.config")
QUIET = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=keep",
    "-c", "index.skipHash=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.commitGraph=false",
)  # fmt: skip
"""Options for a git that looks into the user's repository, whose own configuration it has to read."""


def clean_environment(extra: Mapping[str, str | bytes] | None = None) -> dict[str, str | bytes]:
    """This process's environment with every GIT_* gone and git's doors to other configuration shut."""
    clean: dict[str, str | bytes] = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    clean.update(
        LC_ALL="C",
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=str(CONFIG),
        GIT_OPTIONAL_LOCKS="0",
        GIT_LITERAL_PATHSPECS="1",
        GIT_NO_REPLACE_OBJECTS="1",
        GIT_NO_LAZY_FETCH="1",
        GIT_TERMINAL_PROMPT="0",
        GIT_FLUSH="1",
    )
    clean.update(extra or {})
    return clean


class GitFailed(WorkspaceProblem):
    """git ended with an error; `stderr` is what it said."""

    def __init__(self, text: str, stderr: bytes, code: int) -> None:
        super().__init__(text)
        self.stderr = stderr
        self.code = code


class Running:
    """A git that was started; `result` waits for it."""

    def __init__(self, process: subprocess.Popen[bytes], words: Sequence[str], where: str) -> None:
        self.process = process
        self._words = words
        self._where = where

    def result(self, *, given: bytes | None = None, accept: Sequence[int] = (0,)) -> bytes:
        """Its standard output. Raises `GitFailed` with its words when it ended with an unexpected code."""
        out, err = self.process.communicate(given)
        code = self.process.returncode
        if code in accept:
            return out
        if b"No space left on device" in err or b"Disk quota exceeded" in err:
            raise no_space(self._where)
        said = err.decode("utf-8", "backslashreplace").strip() or f"exit code {code}"
        command = next((word for word in self._words if not word.startswith("-") and "=" not in word), "git")
        raise GitFailed(f"git {command} in {self._where}: {said}", err, code)


class Git:
    """git with one fixed environment, run in one folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str | bytes], options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.environment = clean_environment(environment)
        self._options = options

    def start(self, *words: str, given: bool = False, index: Path | None = None) -> Running:
        """Start git with `words`; with `given`, bytes will be passed to `result` as its standard input."""
        environment = self.environment if index is None else {**self.environment, "GIT_INDEX_FILE": str(index)}
        command = ["git", *self._options, *words]
        try:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE if given else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            if not self.folder.is_dir():
                text = f"{self.folder} is gone. Put it back, then beatctl resume."
                raise WorkspaceProblem(text, "folder-gone") from error
            raise WorkspaceProblem("git is not installed or not on PATH. Install git 2.32 or newer.") from error
        return Running(process, words, str(self.folder))

    def run(
        self, *words: str, given: bytes | None = None, accept: Sequence[int] = (0,), index: Path | None = None
    ) -> bytes:
        """Run git to its end and return its standard output."""
        running = self.start(*words, given=given is not None, index=index)
        return running.result(given=given, accept=accept)

    def line(self, *words: str, given: bytes | None = None) -> str:
        return self.run(*words, given=given).decode().strip()


def split(output: bytes) -> list[bytes]:
    """The records of output whose records end with NUL."""
    return output.split(b"\0")[:-1]
