"""What beatctl keeps in its home and beside it, looked through for what can be freed. Looking changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.activities import repositories
from beatctl.activities.workspace import FolderInUse, WorkspaceProblem, hold, ownership
from beatctl.activities.workspace.files import read_json, remove_tree
from beatctl.activities.workspace.places import find_repository
from beatctl.activities.workspace.remains import Remains, left_in_objects, size_of
from beatctl.activities.workspace.spent_worktree import GONE
from beatctl.activities.workspace.state import State
from beatctl.cli.gc.pieces import Found, Look, Piece
from beatctl.cli.loops import Loops
from beatctl.cli.times import local

if TYPE_CHECKING:
    from beatctl.activities.home import LoopFolder
    from beatctl.activities.records import Status

COPIES = "copies of repositories, fetched again when one is used"
LEFT = "left by commands that were killed"
_DRAFT = re.compile(r"\.looked\.([0-9]+)")


class Survey:
    """One look through a home, and the freeing of what was found."""

    def __init__(self, loops: Loops, *, everything: bool) -> None:
        self._loops = loops
        self._home = loops.home
        self._everything = everything
        self._known = loops.all()

    # Loops that have ended

    def ended(self, older_than_s: float) -> tuple[list[Status], int]:
        """The loops that ended so long ago, newest first, and how many ended since."""
        ended = [status for status in self._known if status.state == "finished"]
        old = [status for status in ended if _age(status) >= older_than_s]
        return old, len(ended) - len(old)

    def loop(self, status: Status) -> Found:
        """What is kept of a loop that has ended."""
        found = Found(status.id)
        with _told(found):
            remains = Remains(
                self._loops.folder(status.id),
                Path(status.worktree or status.directory),
                Path(status.origin) if status.origin else None,
            )
            look = Look(remains, found, everything=self._everything, in_use=self._in_use(remains))
            rows = {row.iteration: row for row in self._loops.rows(status.id)}
            look.of_loop(status, rows, self._loops.ledger.spec(status.id) or "")
        return found

    @contextlib.contextmanager
    def held(self, status: Status) -> Iterator[bool]:
        """Keep the loop from going on while it is freed. False: it goes on already."""
        root = Path(status.worktree or status.directory)
        try:
            with hold(self._home, root, status.id, self._loops.is_live):
                self._look_again()
                yield not self._loops.is_live(status.id)
        except FolderInUse as used:
            # Another one's folder: this one can't go on there, and only what lies in beatctl's home may go.
            self._look_again()
            yield not used.busy and not self._loops.is_live(status.id)

    def _look_again(self) -> None:
        self._known = self._loops.all()
        self.__dict__.pop("_busy_repositories", None)

    def _in_use(self, remains: Remains) -> str | None:
        """A loop that has not ended, in this folder or in the same repository: it guards what is there."""
        from beatctl.cli.loops import in_the_way

        beside = in_the_way(self._known, remains.root)
        if beside is not None:
            return beside.id
        return self._busy_repositories.get(remains.common) if remains.common is not None else None

    @cached_property
    def _busy_repositories(self) -> dict[Path, str]:
        found: dict[Path, str] = {}
        for status in self._known:
            if status.state == "finished":
                continue
            top = Path(status.origin or status.worktree or status.directory)
            repository = find_repository(top) if top.is_dir() else None
            if repository is not None:
                found[repository.common_dir] = status.id
        return found

    # Dry runs, and what belongs to no loop

    def dry_runs(self, older_than_s: float) -> list[Found]:
        """What dry runs left that were killed, or put something aside."""
        found = []
        for folder in self._folders():
            note = read_json(folder.dry_run)
            if note is None or time.time() - folder.dry_run.stat().st_mtime < older_than_s:
                continue
            root = Path(note["worktree"])
            if not ownership.is_held(self._home, root):  # else it runs
                found.append(self._dry_run(folder, root, note.get("origin")))
        return [one for one in found if one.pieces or one.stays]

    def _dry_run(self, folder: LoopFolder, root: Path, origin: str | None) -> Found:
        found = Found(folder.id)
        with _told(found):
            remains = Remains(folder, root, Path(origin) if origin else None)
            Look(remains, found, everything=self._everything, in_use=self._in_use(remains)).of_dry_run()
        for place, piece in enumerate(found.pieces):
            found.pieces[place] = Piece(
                piece.kind, piece.what, piece.bytes, self._unless_it_runs(folder.id, root, piece.free), piece.later
            )
        return found

    def _unless_it_runs(self, loop: str, root: Path, free: Callable[[], None]) -> Callable[[], None]:
        def careful() -> None:
            with hold(self._home, root, loop, self._loops.is_live):
                free()

        return careful

    def repositories(self, older_than_s: float) -> Found:
        """The copies of repositories that loops were started from by their URL (--repo), long ago."""
        found = Found(COPIES)
        for cache in repositories.unused(self._home, older_than_s):
            free = partial(repositories.forget, cache, older_than_s)
            found.pieces.append(Piece("copies", str(cache), size_of([cache]), free))
        return found

    def _folders(self) -> list[LoopFolder]:
        """Folders of loops that the ledger does not know."""
        known = {status.id for status in self._known}
        names = sorted(path.name for path in self._home.loops.glob("*/") if path.name not in known)
        return [self._home.loop(name) for name in names]

    def left_over(self) -> Found:
        """What belongs to no loop, and what nobody knows."""
        found = Found(LEFT)
        known = {status.id for status in self._known} | {one.id for one in self._folders() if one.dry_run.exists()}
        for folder in self._folders():
            if not folder.dry_run.exists():
                found.stays.append(f"{folder.root} is of no loop in the ledger.")
        for path in sorted(self._home.worktrees.glob("*")) + sorted(self._home.worktrees.glob(f"{GONE}*")):
            if path.name.startswith(GONE):
                self._add(found, "a worktree that was being removed", [path])
            elif path.name not in known:
                found.stays.append(f"{path} is of no loop in the ledger.")
        drafts = [path for path in self._home.root.glob(".looked.*") if _is_dead(_DRAFT.fullmatch(path.name))]
        commons = [common for status in self._known if (common := self._common(status)) is not None]
        drafts += [path for common in dict.fromkeys(commons) for path in left_in_objects(common)]
        self._add(found, "drafts of files", drafts)
        claims = ownership.stale(self._home, self._loops.is_live)
        if claims:
            free = partial(ownership.drop_stale, self._home, self._loops.is_live)
            found.pieces.append(Piece("leftovers", "notes of who owns a folder", size_of(claims), free))
        return found

    def _add(self, found: Found, what: str, paths: list[Path]) -> None:
        def free() -> None:
            for path in paths:
                remove_tree(os.fsencode(path))

        if paths:
            found.pieces.append(Piece("leftovers", what, size_of(paths), free))

    def _common(self, status: Status) -> Path | None:
        with contextlib.suppress(WorkspaceProblem, OSError):
            state = State.read(self._loops.folder(status.id).workspace)
            return Path(state.common) if state is not None and state.common else None
        return None


def _is_dead(named: re.Match[str] | None) -> bool:
    if named is None:
        return False
    try:
        os.kill(int(named[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _age(status: Status) -> float:
    moment = status.ended_at or status.started_at
    return time.time() - local(moment).timestamp() if moment else 0.0


@contextlib.contextmanager
def _told(found: Found) -> Iterator[None]:
    """What can't be looked at stays, and is told."""
    try:
        yield
    except (WorkspaceProblem, OSError, json.JSONDecodeError) as problem:
        found.pieces.clear()
        found.stays.append(f"It can't be looked at: {problem}")
