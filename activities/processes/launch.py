"""From the shim to the child: fork, a session of its own, a clean start, exec.

Standard library only. What fails between fork and exec comes back through a pipe that exec closes.
"""

from __future__ import annotations

import errno
import json
import os
import signal

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
# What exec would hand on as ignored: by whoever started the worker (nohup), by Python, by the shim.
_IGNORED = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
_IGNORED |= {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT}


class NotStarted(Exception):
    """The child could not be started. `exit_code` is what a shell would give: 127, 126, or None."""

    def __init__(self, exit_code: int | None, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.text = text


def launch(
    argv: Sequence[str], cwd: str, environment: Mapping[str, str], stdin: str | None, stdout: str, stderr: str
) -> int:
    """Start the program and return its pid once it runs. Raises NotStarted."""
    opened: list[int] = []
    try:
        for path, flags in (
            (stdin or os.devnull, os.O_RDONLY),
            (stdout, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
            (stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        ):
            opened.append(os.open(path, flags | os.O_CLOEXEC, 0o600))
        told, tell = os.pipe()
        shim = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(argv, cwd, environment, opened, tell, shim)
    except OSError as problem:
        raise NotStarted(None, f"{problem.filename or argv[0]}: {problem.strerror}") from None
    finally:
        for descriptor in opened:
            os.close(descriptor)
    os.close(tell)
    problem_text = os.read(told, 65536)
    os.close(told)
    if problem_text:
        os.waitpid(pid, 0)
        exit_code, text = json.loads(problem_text)
        raise NotStarted(exit_code, text)
    return pid


def _become(
    argv: Sequence[str], cwd: str, environment: Mapping[str, str], files: Sequence[int], tell: int, shim: int
) -> None:
    """In the child: turn into the program, or say why not and end."""
    try:
        os.setsid()
        kernel.die_with_parent()
        if os.getppid() != shim:  # the shim died before the promise was made
            os._exit(1)
        for number, descriptor in enumerate(files):
            os.dup2(descriptor, number)
        try:
            os.chdir(cwd)
        except OSError as problem:
            raise NotStarted(None, f"The folder {cwd} cannot be entered: {problem.strerror}.") from None
        for number_ignored in _IGNORED:
            signal.signal(number_ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _execute(argv, {os.fsencode(name): os.fsencode(value) for name, value in environment.items()})
    except NotStarted as problem:
        answer = [problem.exit_code, problem.text[:500]]  # one write to a pipe, whole
    except BaseException as problem:
        answer = [None, f"{argv[0]}: {problem}"[:500]]
    os.write(tell, json.dumps(answer).encode())
    os._exit(_NOT_FOUND)


def _execute(argv: Sequence[str], environment: Mapping[bytes, bytes]) -> None:
    """Look along the child's own PATH as a shell does. Returns only by raising NotStarted."""
    program = os.fsencode(argv[0])
    words = [os.fsencode(word) for word in argv]
    if b"/" in program:
        places = [program]
    else:
        path = environment.get(b"PATH", os.fsencode(os.defpath))
        places = [os.path.join(folder or b".", program) for folder in path.split(b":")]
    refused: tuple[bytes, OSError] | None = None
    for place in places:
        try:
            os.execve(place, words, environment)
        except FileNotFoundError as problem:
            if os.path.lexists(place) and refused is None:
                refused = place, problem
        except NotADirectoryError:
            continue
        except OSError as problem:
            if problem.errno == errno.ENOEXEC and _is_text(place):
                # No first line that names an interpreter: a shell script, as for every shell.
                os.execve(b"/bin/sh", [b"/bin/sh", place, *words[1:]], environment)
            if refused is None or problem.errno != errno.EACCES:
                refused = place, problem
    raise _refusal(argv[0], refused, searched=b"/" not in program)


def _refusal(program: str, refused: tuple[bytes, OSError] | None, *, searched: bool) -> NotStarted:
    if refused is None:
        if searched:
            return NotStarted(_NOT_FOUND, f'"{program}" was not found on PATH. Install it, or give its full path.')
        return NotStarted(_NOT_FOUND, f"{program} is not there. Looked in {os.getcwd()}.")
    place, problem = os.fsdecode(refused[0]), refused[1]
    if problem.errno == errno.ENOENT:
        return NotStarted(_NOT_FOUND, f"{place} cannot run: what its first line names, or its target, is not there.")
    if os.path.isdir(place):
        return NotStarted(_NOT_EXECUTABLE, f"{place} is a folder, not a program.")
    if problem.errno == errno.EACCES:
        return NotStarted(_NOT_EXECUTABLE, f"{place} is not executable. Make it so: chmod +x {place}")
    return NotStarted(_NOT_EXECUTABLE, f"{place} cannot run: {problem.strerror}.")


def _is_text(place: bytes) -> bool:
    try:
        with open(place, "rb") as file:
            return b"\0" not in file.read(128)
    except OSError:
        return False
