"""`apply`: what a loop kept, as commits of the user's own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beatctl.cli import freed
from beatctl.cli.apply_job import Job, Made
from beatctl.cli.arguments import Json, NamedLoop
from beatctl.cli.loops import Loops, candidates, in_folder
from beatctl.cli.output import out_json
from beatctl.cli.problems import Usage
from beatctl.cli.worktree import check_still_there

if TYPE_CHECKING:
    from beatctl.activities.records import Status


def apply(
    loop: NamedLoop = None,
    branch: Annotated[
        str | None,
        typer.Option("--branch", metavar="NAME", help="Commit on a new branch; the folder stays as it is."),
    ] = None,
    commit: Annotated[bool, typer.Option("--commit", help="Commit on the current branch.")] = False,
    squash: Annotated[bool, typer.Option("--squash", help="One commit for all.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", metavar="N,N", help="These experiments alone.", show_default=False)
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--message",
            metavar="TEXT",
            help="The commits' message; {n}, {summary} and {score} are filled in.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: Json = False,
) -> int:
    """Turn what a loop kept into commits.

    From HEAD, one commit for each experiment kept, with its score. Your own edits are not in them. Your git makes them:
    your name, signing and hooks.
    """
    loops = Loops()
    status = _meant(loops, loop)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # what has been begun is taken back
    made = apply_loop(
        loops,
        status,
        branch=branch,
        commit=commit,
        squash=squash,
        only=_numbers(only),
        message=message,
        dry_run=dry_run,
    )
    if as_json:
        out_json({**status.model_dump(mode="json"), "applied": made.as_json()})
    else:
        made.tell(status.id, loops.rows_by_number(status.id))
    return 0


def apply_loop(
    loops: Loops,
    status: Status,
    *,
    branch: str | None = None,
    commit: bool = False,
    squash: bool = False,
    only: list[int] | None = None,
    message: str | None = None,
    dry_run: bool = False,
) -> Made:
    """Make commits of what a loop kept, or with `dry_run` say which. Raises Usage before, Problem for what the
    repository or a hook is against."""
    freed.check_snapshots(loops, status, "apply")
    check_still_there(status)
    if branch is not None and commit:
        raise Usage("Either --branch NAME, for a new branch, or --commit, for the current one.")
    if branch is None and not commit and status.branch is not None:
        # Named at the start: the branch of the loop's own worktree, which is checked out there, or one to be made.
        branch, commit = (None, True) if status.origin else (status.branch, False)
    if branch is None and not commit and not dry_run:
        raise Usage(
            f"Where to? beatctl apply {status.id} --branch NAME makes a new branch and leaves your folder as it is; "
            "--commit commits on the current one."
        )
    if status.state != "finished":
        raise Usage(f"Loop {status.id} is not over ({status.state}). End it first: beatctl stop {status.id}")
    job = Job(loops, status, squash=squash, only=only, template=message)
    return job.run(branch, commit=commit, dry_run=dry_run)


def _end(number: int, _: Any) -> None:
    raise SystemExit(128 + number)


def _meant(loops: Loops, word: str | None) -> Status:
    """The loop that is meant: named, or the only one there can be. Raises Usage."""
    if word is not None:
        return loops.find(word)
    here = in_folder(loops.all(), Path.cwd())
    if len(here) > 1:
        raise Usage(f"Which loop? apply never guesses: beatctl apply {here[0].id}\n{candidates(here)}")
    return loops.find(None)


def _numbers(only: str | None) -> list[int] | None:
    if only is None:
        return None
    words = [word.strip().removeprefix("#") for word in only.replace(" ", ",").split(",") if word.strip()]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 10):
            raise Usage(f'--only takes numbers of experiments, as in --only 41,96; "{word}" is none.')
    if not words:
        raise Usage("--only names no experiment: --only 41,96")
    return sorted({int(word) for word in words})
