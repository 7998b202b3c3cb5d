"""Ignore rules as they were at the baseline, in one exclude file that nothing in the work tree can change.

git reads patterns from a configured file, from info/exclude and from each folder's .gitignore. Here all of them become
lines of one file, each anchored at the folder it came from, the weakest first since the last match wins. A nested
repository begins with a line that takes the outer rules back, as git itself does not apply them there.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .files import is_special, shown
from .git import Git, clean_environment, split
from .problems import WorkspaceRefused

_SPECIAL = re.compile(rb"[\\*?\[\]]")


def escaped(path: bytes) -> bytes:
    """A path as a pattern that matches it. A newline cannot stand in a pattern, so any one character does for it."""
    return _SPECIAL.sub(rb"\\\g<0>", path).replace(b"\n", b"?").replace(b"\r", b"?").replace(b" ", b"\\ ")


def anchored(content: bytes, folder: bytes) -> list[bytes]:
    """The patterns of an ignore file that lies in `folder` (below the root, empty for the root itself)."""
    base = b"/" + escaped(folder) + b"/"
    lines = []
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        pattern = _without_trailing_spaces(line.removesuffix(b"\r"))
        if not pattern or pattern.startswith(b"#"):
            continue
        negated = pattern.startswith(b"!")
        body = pattern[1:] if negated else pattern
        if not body.strip(b"/"):
            continue  # matches nothing; anchored it would match the folder
        if not folder:
            lines.append(pattern)
            continue
        if b"/" in body.removesuffix(b"/"):
            body = base + body.removeprefix(b"/")
        else:
            if body.startswith((b"\\#", b"\\!")):
                body = body[1:]  # escaped only because it stood first
            body = base + b"**/" + body
        lines.append((b"!" if negated else b"") + body)
    return lines


def _without_trailing_spaces(line: bytes) -> bytes:
    """As git does: a space at the end counts only when a backslash stands before it."""
    end = len(line)
    while end and line[end - 1 : end] == b" ":
        slashes = len(line[: end - 1]) - len(line[: end - 1].rstrip(b"\\"))
        if slashes % 2:
            break
        end -= 1
    return line[:end]


@dataclass
class Survey:
    """What a walk through the work tree found: everything that is not ignored."""

    rules: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    """Folders that are not ignored."""
    ignored: list[bytes] = field(default_factory=list)
    """Folders that are ignored; nothing below them was looked at."""
    repositories: list[bytes] = field(default_factory=list)
    """Folders below the root that hold a `.git`."""
    unreadable: list[bytes] = field(default_factory=list)


def survey(root: Path, private: Path, user_rules: bytes, exclude: bytes, outside: list[bytes]) -> Survey:
    """Walk the work tree once, collecting folders and ignore rules.

    `private` is a git directory with an empty index; `user_rules` the content of the user's own excludes file,
    `exclude` that of info/exclude; `outside` are paths below the root that never belong to the workspace.
    """
    found = Survey(ignored=list(outside))
    _repository(os.fsencode(root), b"", private, user_rules, exclude, found, frozenset(outside))
    found.rules += [b"/" + escaped(path) for path in found.ignored[: len(outside)]]
    return found


def _repository(
    root: bytes,
    prefix: bytes,
    private: Path,
    user_rules: bytes,
    exclude: bytes,
    found: Survey,
    outside: frozenset[bytes],
) -> None:
    """Survey one repository: the root's, or a nested one at `prefix`."""
    if prefix:
        found.rules.append(b"!/" + escaped(prefix) + b"/**")
    found.rules += anchored(user_rules, prefix) + anchored(exclude, prefix)
    top = os.path.join(root, prefix) if prefix else root
    (private / "info").mkdir(exist_ok=True)
    (private / "info" / "exclude").write_bytes(exclude)
    (private / "user-rules").write_bytes(user_rules)
    nested: list[bytes] = []
    with _Asker(top, private) as asker:
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()
            try:
                entries = sorted(os.scandir(os.path.join(root, folder) if folder else root), key=lambda e: e.name)
            except PermissionError:
                found.unreadable.append(folder)
                continue
            names = {entry.name for entry in entries}
            _refuse_pipes(folder, entries)
            if folder != prefix and b".git" in names:
                nested.append(folder)
                continue
            if folder:
                found.folders.append(folder)
            if b".gitignore" in names:
                found.rules += anchored(_content(os.path.join(root, folder, b".gitignore")), folder)
            for entry in reversed(entries):
                if entry.name == b".git" or not entry.is_dir(follow_symlinks=False):
                    continue
                path = folder + b"/" + entry.name if folder else entry.name
                if path in outside:
                    continue
                if asker.ignored(path[len(prefix) + 1 :] if prefix else path):
                    found.ignored.append(path)
                else:
                    waiting.append(path)
    for path in sorted(nested):
        found.repositories.append(path)
        inner = os.path.join(root, path, b".git", b"info", b"exclude")
        _repository(root, path, private, user_rules, _content(inner), found, outside)


def _refuse_pipes(folder: bytes, entries: list[os.DirEntry[bytes]]) -> None:
    """git would wait for ever for what such a file says."""
    for entry in entries:
        if entry.name in (b".gitignore", b".gitattributes") and is_special(entry):
            name = shown(os.path.join(folder, entry.name))
            raise WorkspaceRefused(
                f"{name} is a pipe or device, at which git would hang. Remove it, or make it a file."
            )


def _content(path: bytes) -> bytes:
    """An ignore file's content; git follows no link to one, and takes a missing one as empty."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(handle, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(handle).st_mode) else b""


class _Asker:
    """A git that answers, for one folder at a time, whether the rules ignore it."""

    def __init__(self, top: bytes, private: Path) -> None:
        environment = clean_environment({"GIT_DIR": str(private), "GIT_WORK_TREE": top})
        environment["GIT_INDEX_FILE"] = str(private / "no-index")
        del environment["GIT_LITERAL_PATHSPECS"]  # not for check-ignore; a path that starts with ./ is taken as it is
        self._process = subprocess.Popen(
            ["git", "-c", f"core.excludesFile={private / 'user-rules'}", "check-ignore", "-z", "--stdin", "-v", "-n"],
            cwd=top,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> _Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ignored(self, path: bytes) -> bool:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"./" + path + b"\0")
        self._process.stdin.flush()
        record = b""
        while record.count(b"\0") < 4:
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                raise OSError(f"git check-ignore ended while asked about {path!r}")
            record += more
        _, _, pattern, _ = split(record)
        return bool(pattern) and not pattern.startswith(b"!")


def user_rules(root: Path) -> bytes:
    """The content of the excludes file the user's own configuration names, or of git's default one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    named = subprocess.run(
        ["git", "config", "--type=path", "--get", "core.excludesFile"],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    ).stdout.removesuffix(b"\n")
    if named:
        return _followed(os.path.join(os.fsencode(root), named))
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/nonexistent"), ".config")
    return _followed(os.fsencode(os.path.join(base, "git", "ignore")))


def _followed(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def ignores_case(git: Git) -> bool:
    """Whether the user's repository matches names without regard to case."""
    return git.run("config", "--type=bool", "--get", "core.ignoreCase", accept=(0, 1)).strip() == b"true"
