"""The baseline: the work tree as it is before any agent runs, and everything a workspace needs from then on."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from beatctl.activities.home import LoopFolder

from .files import lstat, parents, remove_tree, shown, write_whole
from .git import QUIET, Git, GitFailed, split
from .guarding import Guarding
from .held_refs import HeldRefs
from .ignore_rules import Survey, escaped, ignores_case, survey, user_rules
from .manifest import with_usual_modes
from .places import Repository, find_repository
from .private_git import PrivateGit, with_trailers
from .problems import WorkspaceRefused
from .recording import Recorder, still_hot
from .state import Folders, Known, State, index_signature

MOST_BYTES = 2 << 30
MOST_FILES = 200_000
"""Content that git does not track, above which a folder is taken only when told to."""
_SETTLED_NS = 1_500_000_000


def take_baseline(folder: LoopFolder, root: Path, *, allow_large: bool, own_worktree: bool) -> State:
    """Snapshot 0: private git directory, frozen ignore rules, copies of the repository, and the first commit."""
    place = folder.workspace
    repository = find_repository(root)
    private = PrivateGit(
        place, root, repository.objects if repository else None, repository.object_format if repository else "sha1"
    )
    remove_tree(os.fsencode(private.dir))
    user = _user_git(root, repository)
    private.create(ignore_case=user is not None and ignores_case(user))
    began = time.time_ns()
    found = survey(root, private.dir, user_rules(root), _exclude(repository), _own_folders(folder, root))
    write_whole(private.rules, b"".join(rule + b"\n" for rule in found.rules))
    tracked = _tracked(root, user, found)
    others = _others(private, found)
    recorder = Recorder(private)
    present = recorder.look(sorted(tracked | others))
    _refuse_unreadable(root, found, present.there)
    if not allow_large:
        _refuse_large(root, {path: at for path, at in present.there.items() if path not in tracked})
    modes = {path: stat.S_IMODE(at.st_mode) for path, at in present.there.items() if stat.S_ISREG(at.st_mode)}
    manifest = with_usual_modes(modes)
    signatures = recorder.record(list(present.there), manifest)
    warnings = _leave_out_unrecorded(private, recorder, set(present.there))
    folders = _folders(root, found, recorder.all_recorded(), began)
    manifest.folders = {path: mode for path, (mode, _) in folders.known.items()}
    manifest.repositories = sorted(found.repositories)
    guards = ["", *(os.fsdecode(path) for path in manifest.repositories)]
    warnings += _ignored_submodules(root, user, found)
    guarding = Guarding(place, root, folder.id, own_worktree=own_worktree)
    warnings += guarding.arm(guards)
    tree, name = private.write_tree(), manifest.save(place / "manifests")
    head = _head(user)
    message = with_trailers(f"beatctl: {folder.id} baseline", {"Beatctl-Manifest": name})
    commit = private.write_commit(tree, [head] if head else [], message)
    refs = HeldRefs(repository.common_dir if repository else private.dir, place, folder.id)
    refs.take_others()
    refs.write("0", commit)
    guarding.sync_objects()
    folders.save(place)
    state = State(
        root=os.fspath(root),
        loop=folder.id,
        object_format=private.object_format,
        baseline=commit,
        known=Known(commit, tree, name),
        common=os.fspath(repository.common_dir) if repository else None,
        index=index_signature(place),
        hot=still_hot(signatures),
        guards=guards,
        warnings=warnings,
        own_worktree=own_worktree,
    )
    state.save(place, lasting=True)
    return state


def _user_git(root: Path, repository: Repository | None) -> Git | None:
    """git on the user's own repository, only ever to read."""
    if repository is None:
        return None
    return Git(root, {"GIT_DIR": str(repository.git_dir), "GIT_WORK_TREE": str(root)}, QUIET)


def _exclude(repository: Repository | None) -> bytes:
    try:
        return (repository.common_dir / "info" / "exclude").read_bytes() if repository else b""
    except OSError:
        return b""


def _own_folders(folder: LoopFolder, root: Path) -> list[bytes]:
    """beatctl's own folders, where they lie in the work tree."""
    home = folder.root.parents[1] if folder.root.parent.name == "loops" else folder.root
    home = home.resolve()
    return [os.fsencode(home.relative_to(root))] if home != root and home.is_relative_to(root) else []


def _tracked(root: Path, user: Git | None, found: Survey) -> set[bytes]:
    """What the user's index lists, and those of nested repositories; ignored or not, it belongs to the baseline."""
    tracked: set[bytes] = set()
    if user is not None:
        tracked.update(split(user.run("ls-files", "-z")))
    for prefix in found.repositories:
        inside = root / os.fsdecode(prefix)
        nested = _user_git(inside, find_repository(inside))
        if nested is not None:
            tracked.update(prefix + b"/" + path for path in split(nested.run("ls-files", "-z")))
    return tracked


def _ignored_submodules(root: Path, user: Git | None, found: Survey) -> list[str]:
    """Submodules that the ignore rules hide from a walk through the work tree."""
    staged = split(user.run("ls-files", "-s", "-z")) if user is not None and (root / ".gitmodules").exists() else []
    links = [record.partition(b"\t")[2] for record in staged if record.startswith(b"160000 ")]
    hidden = [path for path in links if path not in found.repositories and lstat(root / os.fsdecode(path) / ".git")]
    names = ", ".join(shown(path) for path in hidden)
    return [f"Not protected, since ignore rules cover these submodules: {names}."] if hidden else []


def _others(private: PrivateGit, found: Survey) -> set[bytes]:
    """Every file that is not ignored, those of nested repositories included."""
    if found.repositories:
        blob = private.git.line("hash-object", "-w", "--stdin", given=b"").encode()
        entries = b"".join(b"100644 %s\t%s/.beatctl-nested\0" % (blob, path) for path in found.repositories)
        private.git.run("update-index", "-z", "--index-info", given=entries)
    others = split(private.git.run("ls-files", "-o", "-z", f"--exclude-from={private.rules}"))
    private.index.unlink(missing_ok=True)
    return {path for path in others if not path.endswith(b"/")}


def _refuse_unreadable(root: Path, found: Survey, there: dict[bytes, os.stat_result]) -> None:
    base = os.fsencode(root)
    unreadable = [path + b"/" for path in found.unreadable]
    if os.geteuid() != 0:
        unreadable += [
            path
            for path, at in there.items()
            if stat.S_ISREG(at.st_mode) and not os.access(os.path.join(base, path), os.R_OK)
        ]
    if unreadable:
        names = ", ".join(shown(path) for path in sorted(unreadable)[:5])
        raise WorkspaceRefused(
            f"Cannot read {len(unreadable)} path(s) in {root}: {names}. "
            "They could not be brought back: make them readable, or ignore them in .gitignore."
        )


def _refuse_large(root: Path, untracked: dict[bytes, os.stat_result]) -> None:
    total = sum(at.st_size for at in untracked.values())
    if total <= MOST_BYTES and len(untracked) <= MOST_FILES:
        return
    sizes: dict[bytes, int] = {}
    counts: dict[bytes, int] = {}
    for path, at in untracked.items():
        top, slash, _ = path.partition(b"/")
        sizes[top + slash] = sizes.get(top + slash, 0) + at.st_size
        counts[top + slash] = counts.get(top + slash, 0) + 1
    largest = sorted(sizes, key=lambda top: (sizes[top], counts[top]), reverse=True)[:3]
    names = ", ".join(f"{shown(top)} {sizes[top] / (1 << 30):.1f} GiB in {counts[top]:,} files" for top in largest)
    raise WorkspaceRefused(
        f"{root} holds {total / (1 << 30):.1f} GiB in {len(untracked):,} files that git does not track ({names}). "
        "Every snapshot would carry them: list them in .gitignore, or add --allow-large."
    )


def _leave_out_unrecorded(private: PrivateGit, recorder: Recorder, wanted: set[bytes]) -> list[str]:
    """Names that git refuses to record are left alone from now on, and said."""
    left = wanted - set(recorder.all_recorded())
    if not left:
        return []
    with private.rules.open("ab") as rules:
        rules.writelines(b"/" + escaped(path) + b"\n" for path in sorted(left))
    names = ", ".join(shown(path) for path in sorted(left)[:5])
    return [f"Not protected, since git cannot record files with such names: {names}."]


def _folders(root: Path, found: Survey, recorded: list[bytes], began: int) -> Folders:
    """Every folder that is not ignored or that holds a recorded file."""
    base = os.fsencode(root)
    folders = Folders(ignored=set(found.ignored))
    wanted = {b"", *found.folders, *found.repositories} | {folder for path in recorded for folder in parents(path)}
    for path in sorted(wanted):
        at = lstat(os.path.join(base, path) if path else base)
        if at is not None and stat.S_ISDIR(at.st_mode):
            settled = began - at.st_ctime_ns > _SETTLED_NS
            folders.known[path] = [stat.S_IMODE(at.st_mode), at.st_ctime_ns if settled else 0]
    folders.ignored -= folders.known.keys()
    return folders


def _head(user: Git | None) -> str | None:
    """The commit the user has checked out, if there is one."""
    if user is None:
        return None
    try:
        return user.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except GitFailed:
        return None
