"""The whole state of a folder, path by path, so that "everything came back" can be said exactly.

`of(root)` is a plain dictionary: each file with its bytes and mode, each link with its target, each folder with its
mode, the git directories with all their files but objects and beatctl's own refs, and what git itself says of status,
stash and refs. `differences(a, b)` names what is not the same.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

Fingerprint = dict[str, str]


def of(root: Path, *, leave_out: Iterable[str] = ()) -> Fingerprint:
    """Everything below `root`; `leave_out` are paths below it that are passed over with all they hold."""
    found: Fingerprint = {}
    skip = {os.fsencode(path) for path in leave_out}
    _walk(os.fsencode(root), b"", skip, found)
    for path in [key.removeprefix("tree ") for key in found if key.startswith("tree ") and _ends_in_git(key)]:
        _repository(root / path, found, path)
    return found


def files(root: Path) -> Fingerprint:
    """The work tree alone, every `.git` left out."""
    found: Fingerprint = {}
    _walk(os.fsencode(root), b"", set(), found)
    return {key: value for key, value in found.items() if not _ends_in_git(key)}


def differences(a: Fingerprint, b: Fingerprint) -> dict[str, tuple[str | None, str | None]]:
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _ends_in_git(key: str) -> bool:
    return key == "tree .git" or key.endswith("/.git")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _describe(path: bytes) -> str:
    at = os.lstat(path)
    mode = f"{stat.S_IMODE(at.st_mode):04o}"
    if stat.S_ISREG(at.st_mode):
        with open(path, "rb") as file:
            return f"file {mode} {at.st_size} {hashlib.sha256(file.read()).hexdigest()[:20]}"
    if stat.S_ISLNK(at.st_mode):
        return f"link {os.readlink(path)!r}"
    if stat.S_ISDIR(at.st_mode):
        return f"folder {mode}"
    return f"other {stat.S_IFMT(at.st_mode):o} {mode}"


def _walk(root: bytes, folder: bytes, skip: set[bytes], found: Fingerprint) -> None:
    found[f"tree {_text(folder)}"] = _describe(os.path.join(root, folder))
    for name in sorted(os.listdir(os.path.join(root, folder))):
        path = os.path.join(folder, name) if folder else name
        if path in skip:
            continue
        at = os.lstat(os.path.join(root, path))
        if stat.S_ISDIR(at.st_mode) and name != b".git":
            _walk(root, path, skip, found)
        else:
            found[f"tree {_text(path)}"] = _describe(os.path.join(root, path))


def _repository(dotgit: Path, found: Fingerprint, name: str) -> None:
    """A git directory's files, and what git says of the work tree."""
    work_tree = dotgit.parent
    git_dir = _git(work_tree, "rev-parse", "--absolute-git-dir")
    if git_dir is None:
        return
    common = _git(work_tree, "rev-parse", "--path-format=absolute", "--git-common-dir") or git_dir
    for base in {git_dir, common}:
        kind = "own" if base == git_dir else "common"
        for path, what in sorted(_admin(Path(base)).items()):
            found[f"git {name} {kind} {path}"] = what
    for words in (
        ("status", "--porcelain=v2", "--branch", "--ignored"),
        ("stash", "list"),
        ("reflog",),
        ("for-each-ref",),
        ("config", "--local", "--list"),
        ("log", "--oneline", "-5"),
    ):
        if words[0] == "for-each-ref":
            refs = (_git(work_tree, "for-each-ref") or "").splitlines()
            found[f"git {name} refs"] = "\n".join(line for line in refs if "refs/beatctl/" not in line)
        else:
            found[f"git {name} says {words[0]}"] = _git(work_tree, *words) or ""


def _admin(base: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(base):
        here = Path(folder)
        for name in list(folders):
            at = here / name
            if name == "objects" or (name == "beatctl" and here.name == "refs") or at == base / "worktrees":
                folders.remove(name)
            elif not any(at.iterdir()):
                found[str(at.relative_to(base)) + "/"] = _describe(os.fsencode(at))
        for name in names:
            path = here / name
            found[str(path.relative_to(base))] = _describe(os.fsencode(path))
    return found


def _git(folder: Path, *words: str) -> str | None:
    """What git says, reading only; None when it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment.update(GIT_OPTIONAL_LOCKS="0", LC_ALL="C", GIT_CONFIG_NOSYSTEM="1")
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n") if done.returncode == 0 else None
