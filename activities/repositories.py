"""Repositories that loops are started from by their URL: fetched into a cache, cloned for a loop, pushed to.

One bare repository a URL, and a clone of it for each loop, which shares its objects by hard links: what a loop's agent
does to its repository is that loop's affair. git runs with the user's own configuration, which has their credentials.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from beatctl.activities.home import Home
from beatctl.activities.workspace.files import locked, remove_tree

_NOT_THEIRS = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
    *("GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CEILING_DIRECTORIES", "GIT_SHALLOW_FILE"),
)
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "maintenance.auto=false")
_HEADS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_GONE = ".gone-"
"""Before the name of what is being removed."""
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_WITH_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)


class Unreachable(Exception):
    """git could not read the repository, or write to it; the text has its words."""


class NoSuchRef(Exception):
    """The repository has nothing of that name; the text is for the user."""


class Rejected(Exception):
    """The repository does not take the branch; the text has git's words."""


@dataclass(frozen=True)
class Source:
    """A repository in the cache, and the commit that was asked for."""

    url: str
    cache: Path
    ref: str
    """The branch or tag, or the commit itself."""
    commit: str


def why_not(url: str) -> str | None:
    """Why a URL is not taken; None where it is. Pure.

    One with a password in it would be kept where that has no place: in the ledger, in Temporal, in the clone.
    """
    if not url.strip() or url != url.strip() or url.startswith("-") or any(not char.isprintable() for char in url):
        return f"{masked(url)!r} is no repository's URL."
    scheme, found, rest = url.partition("://")
    if found:
        user, at, _ = rest.partition("/")[0].rpartition("@")
        if at and (":" in user or scheme.lower() != "ssh"):
            return (
                f"{masked(url)} holds a password or token, which would be kept with the loop. Leave it out: git asks "
                "its credential helper on the host (git config credential.helper), or use an ssh URL."
            )
    elif not url.startswith("/") and not re.match(r"[\w.-]+@?[\w.-]*:", url):
        return f"{url!r} is no repository's URL: https://…, ssh://…, git@host:path, file://… or a path from the root."
    return None


def masked(text: str) -> str:
    """`text` without the user and password of URLs in it."""
    return _WITH_PASSWORD.sub(r"\1***@", text)


def fetch(home: Home, url: str, ref: str | None) -> Source:
    """Bring the cache up to date and find `ref`: a branch, a tag, a commit; None: the repository's own default.

    Raises Unreachable, NoSuchRef.
    """
    cache = _caches(home) / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
    cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(cache.with_suffix(".lock")):
        if not (cache / "HEAD").exists():
            _git(cache.parent, "init", "--quiet", "--bare", "--", str(cache))
        os.utime(cache)
        name = ref or _default(cache, url)
        _git(cache, "fetch", "--quiet", "--prune", "--no-write-fetch-head", "--", url, *_HEADS)
        commit = _found(cache, name)
        if commit is None and _COMMIT.fullmatch(name):
            # Of no branch: some servers give it all the same when it is named in full.
            _asked(cache, "fetch", "--quiet", "--no-write-fetch-head", "--", url, name)
            commit = _found(cache, name)
        if commit is None:
            raise NoSuchRef(f"{masked(url)} has no branch, tag or commit {name!r}.")
        return Source(url, cache, name, commit)


def clone(source: Source, path: Path) -> None:
    """Make a repository of its own at `path`, with the source's commit checked out on no branch.

    Raises Unreachable with git's words; nothing is left then.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with locked(source.cache.with_suffix(".lock")):
            words = ("clone", "--quiet", "--local", "--no-checkout", "--", str(source.cache), str(path))
            _git(source.cache.parent, *words)
            # What no branch holds is not cloned.
            _git(path, "fetch", "--quiet", "--no-write-fetch-head", "--", str(source.cache), source.commit)
        _git(path, "remote", "set-url", "origin", source.url)
        _git(path, "checkout", "--quiet", "--detach", source.commit)
    except BaseException:
        remove_tree(os.fsencode(path))
        raise


def unused(home: Home, older_than_s: float) -> list[Path]:
    """The cache's repositories that no loop was started from for so long."""
    every = sorted(_caches(home).glob("*.git"))
    return [cache for cache in every if cache.name.startswith(_GONE) or _age(cache) >= older_than_s]


def forget(cache: Path, older_than_s: float) -> None:
    """Remove one of them, unless it is used by now. Clones of it have their objects; the next loop fetches it anew."""
    gone = cache.with_name(_GONE + cache.name.removeprefix(_GONE))
    with locked(gone.with_name(gone.name.removeprefix(_GONE)).with_suffix(".lock")):
        if cache != gone and cache.exists() and _age(cache) >= older_than_s:
            remove_tree(os.fsencode(gone))
            cache.rename(gone)  # half of it, were this killed, would be taken for whole
        remove_tree(os.fsencode(gone))


def _caches(home: Home) -> Path:
    return home.root / "repositories"


def _age(cache: Path) -> float:
    return time.time() - cache.stat().st_mtime


def has_branch(repository: Path, name: str) -> bool:
    """Whether a clone, or what it was cloned from, has a branch of this name."""
    names = (f"refs/heads/{name}", f"refs/remotes/origin/{name}")
    return any(_asked(repository, "rev-parse", "--verify", "--quiet", each) is not None for each in names)


def push(repository: Path, url: str, branch: str) -> str:
    """Push a branch, never by force. Returns its commit. Raises Rejected, Unreachable."""
    ref = f"refs/heads/{branch}"
    commit = _git(repository, "rev-parse", "--verify", ref)
    done = _run(repository, "push", "--porcelain", "--no-verify", "--", url, f"{ref}:{ref}")
    if done.returncode:
        rejected = [line for line in done.stdout.splitlines() if line.startswith("!")]
        said = masked("; ".join([*(" ".join(line.split()[2:]) for line in rejected), *_last(done.stderr)]))
        raise (Rejected if rejected else Unreachable)(said)
    return commit


def _default(cache: Path, url: str) -> str:
    """The branch that the repository has checked out."""
    for line in _git(cache, "ls-remote", "--symref", "--", url, "HEAD").splitlines():
        if line.startswith("ref: refs/heads/"):
            return line.split("\t")[0].removeprefix("ref: refs/heads/")
    raise NoSuchRef(f"{masked(url)} names no default branch: say which is meant with --ref.")


def _found(cache: Path, name: str) -> str | None:
    """The commit of a branch, a tag, a full name, or of that name itself."""
    if name.startswith("-"):
        return None
    for ref in (f"refs/heads/{name}", f"refs/tags/{name}", *([name] if name.startswith("refs/") else [])):
        if (commit := _asked(cache, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")) is not None:
            return commit
    return _asked(cache, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") if _COMMIT.fullmatch(name) else None


def _asked(folder: Path, *words: str) -> str | None:
    done = _run(folder, *words)
    return done.stdout.strip() if done.returncode == 0 else None


def _git(folder: Path, *words: str) -> str:
    """git's answer. Raises Unreachable with its words."""
    done = _run(folder, *words)
    if done.returncode:
        raise Unreachable(masked("; ".join(_last(done.stderr)) or f"git {words[0]} ended with {done.returncode}"))
    return done.stdout.strip()


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
    environ |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    environ.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")  # nobody is there to type a passphrase
    return subprocess.run(
        ["git", *_NO_HOOKS, *words],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _last(said: str, most: int = 4) -> list[str]:
    """The last lines that say something."""
    return [line.strip() for line in said.splitlines() if line.strip()][-most:]
