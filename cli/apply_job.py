"""One run of `apply`: which experiments become which commits, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatctl.cli import commit_message, lineage, render
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, say
from beatctl.cli.problems import Problem, Usage

if TYPE_CHECKING:
    from beatctl.activities.records import Row, Status
    from beatctl.activities.workspace.apply import Apply
    from beatctl.activities.workspace.applying import Conflict, Link, Plan, Step, Wanted


@dataclass(frozen=True)
class Made:
    """What apply did, or with --dry-run would do."""

    branch: str | None
    on: str
    """Where HEAD was: a branch, or a commit."""
    head: str
    commits: list[tuple[list[int], str | None, str]]
    """Experiments, commit (None: not made), first line of the message."""
    empty: list[int]
    before: dict[int, str]
    """Experiments that HEAD has had before, with their commits."""

    def as_json(self) -> dict[str, Any]:
        return {
            "branch": self.branch,
            "from": self.head,
            "commits": [
                {"iterations": numbers, "commit": commit, "subject": subject}
                for numbers, commit, subject in self.commits
            ],
            "nothing_to_commit": self.empty,
            "already_applied": {str(number): commit for number, commit in self.before.items()},
        }

    def tell(self, loop: str, rows: Mapping[int, Row]) -> None:
        made = bool(self.commits) and self.commits[0][1] is not None
        count = f"{len(self.commits)} commit{'' if len(self.commits) == 1 else 's'}"
        where = f"new branch {self.branch}, from {self.on}" if self.branch else self.on
        out(f"{loop}: {count} on {where}" if made else f"{loop}: would make {count}; nothing was written.")
        for numbers, commit, subject in self.commits:
            row = rows[numbers[-1]]
            names = ",".join(f"#{number}" for number in numbers)
            score = render.score(row.score) if row.score is not None else ""
            out("  " + "  ".join(part for part in ((commit or "")[:9], names, score, subject) if part))
        if self.empty:
            say(f"Nothing to commit of {named(self.empty)}: git would store the same.")
        if self.before:
            say(f"In HEAD before: {named(list(self.before))}.")
        if made and self.branch:
            say(f"Your folder, your index and {self.on} are as before. See them: git log {self.on}..{self.branch}")
        elif made:
            say(f"Your own edits are as before: git status. To take the commits back: git reset --soft {self.head[:9]}")


def named(numbers: Sequence[int]) -> str:
    return ", ".join(f"#{number}" for number in numbers)


class Job:
    """One run of apply."""

    def __init__(
        self, loops: Loops, status: Status, *, squash: bool, only: list[int] | None, template: str | None
    ) -> None:
        self.loops = loops
        self.status = status
        self.rows = loops.rows_by_number(status.id)
        self.squash = squash
        self.template = template
        self.kept = lineage.kept(status, self.rows)
        if not self.kept:
            raise Usage(f"Loop {status.id} kept nothing ({status.outcome}): there is nothing to apply.")
        self.chosen = self.kept if only is None else self._only(only)

    def _only(self, numbers: list[int]) -> list[list[Row]]:
        there = {rows[-1].iteration: rows for rows in self.kept}
        for number in numbers:
            if number not in there:
                row = self.rows.get(number)
                if row is None:
                    what = "is not there"
                elif lineage.is_edits(row):
                    what = "holds your own edits"
                else:
                    what = f"was not kept ({row.verdict}); by hand: beatctl diff {number} | git apply"
                raise Usage(f"#{number} {what}. Loop {self.status.id} kept {named(list(there))}.")
        return [rows for rows in self.kept if rows[-1].iteration in numbers]

    def run(self, branch: str | None, *, commit: bool, dry_run: bool) -> Made:
        """Work it out, and do it. Raises Usage before, Problem for what the repository or a hook is against."""
        from beatctl.activities.workspace import FolderInUse, WorkspaceProblem, hold
        from beatctl.activities.workspace.apply import Apply
        from beatctl.activities.workspace.applying import Conflict
        from beatctl.activities.workspace.committing import Refused

        root = Path(self.status.worktree or self.status.directory)
        try:
            with hold(self.loops.home, root, self.status.id, self.loops.is_live):
                return self._run(Apply(self.loops.folder(self.status.id)), branch, commit=commit, dry_run=dry_run)
        except Conflict as conflict:
            raise Problem(f"{conflict.text}\n{self._way_out(conflict)}") from conflict
        except Refused as refused:
            raise Problem(refused.text) from refused
        except FolderInUse as used:
            raise Usage(used.text) from used
        except WorkspaceProblem as problem:
            raise Usage(problem.text) from problem

    def _run(self, job: Apply, branch: str | None, *, commit: bool, dry_run: bool) -> Made:
        from beatctl.activities.workspace import check_branch

        job.sweep()
        if branch is not None:
            check_branch(job.root, branch)
        if commit and job.branch is None:
            raise Usage("HEAD is detached: commits there are easily lost. Use --branch NAME, or git switch first.")
        if not dry_run:
            job.check_identity()
        before = {number: found for number, found in sorted(job.applied().items()) if number in self.rows}
        todo = [rows for rows in self.chosen if rows[-1].iteration not in before]
        if not todo:
            where = ", ".join(f"#{rows[-1].iteration} {before[rows[-1].iteration][:9]}" for rows in self.chosen)
            raise Usage(f"Loop {self.status.id} is applied already ({where}): there is nothing more to do.")
        plan = self._plan(job, todo, in_place=commit)
        if not plan.steps:
            raise Usage(
                f"Of {named(plan.empty)} there is nothing to commit: what they changed is in HEAD already, "
                "or git does not keep it."
            )
        had = {number: found for number, found in before.items() if any(r[-1].iteration == number for r in self.chosen)}
        commits: list[str | None] = [None] * len(plan.steps)
        if not dry_run:
            commits = [*job.make(plan, None if commit else branch, self._progress(len(plan.steps)))]
        told = [
            (step.wanted.numbers, made, step.wanted.message.partition("\n")[0])
            for step, made in zip(plan.steps, commits, strict=True)
        ]
        return Made(branch, job.branch or job.head[:9], job.head, told, plan.empty, had)

    def _plan(self, job: Apply, todo: list[list[Row]], *, in_place: bool) -> Plan:
        from beatctl.activities.workspace.applying import Wanted

        if self.squash:
            last = [rows[-1] for rows in todo]
            every = [row for rows in todo for row in rows]
            message = commit_message.of_all(last, self.status, self.template)
            wanted = [Wanted([row.iteration for row in last], self._links(every), message)]
        else:
            wanted = [self._wanted(rows) for rows in todo]
        taken = {rows[-1].iteration for rows in self.chosen}
        left_out = [row for rows in self.kept for row in rows if rows[-1].iteration not in taken]
        best = self.rows[self.kept[-1][-1].iteration].snapshot
        if self.status.best is not None and self.status.best.snapshot:
            best = self.status.best.snapshot
        return job.plan(wanted, self._links(left_out), best or "", in_place=in_place)

    def _wanted(self, rows: list[Row]) -> Wanted:
        from beatctl.activities.workspace.applying import Wanted

        message = commit_message.of_one(rows[-1], self.status, self.template)
        return Wanted([rows[-1].iteration], self._links(rows), message)

    def _links(self, rows: Sequence[Row]) -> list[Link]:
        from beatctl.activities.workspace.applying import Link

        return [Link(*link) for link in lineage.links(self.rows, rows)]

    def _progress(self, total: int) -> Any:
        def progress(step: Step, number: int) -> None:
            if total > 1 and sys.stderr.isatty():
                say(f"commit {number} of {total}: {named(step.wanted.numbers)}")

        return progress

    def _way_out(self, conflict: Conflict) -> str:
        """What to do about it."""
        why = "\n".join(conflict.paths.values())
        if conflict.LEFT_OUT in why:
            return "Take those too, or leave this one out as well."
        words = []
        if conflict.OWN in why:
            words.append(
                f"Commit your own edits first: beatctl undo {self.status.id} brings back the folder as it was before "
                "the loop; commit there, then apply with --branch."
            )
        elif conflict.STAGED in why:
            words.append("Unstage that (git restore --staged), or put the commits on a branch: --branch NAME.")
        before = [str(rows[-1].iteration) for rows in self.chosen if rows[-1].iteration < conflict.number]
        if before and conflict.STAGED not in why:
            words.append(f"Up to there it fits: --only {','.join(before)}")
        return " ".join(words) or f"What it changed, to put in by hand: beatctl diff {self.status.id} {conflict.number}"
