"""The activities as the worker registers them: thin, bound to one home and one spawner."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from temporalio import activity

from beatctl.activities import (
    conclude,
    missing_files,
    notes,
    reopen_workspace,
    run_agent,
    run_evaluator,
    run_setup,
    snapshot_workspace,
)
from beatctl.activities.beating import beating, in_thread_to_its_end
from beatctl.activities.conclude import CloseInput, ConcludeInput, Kept
from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.missing_files import MissingInput
from beatctl.activities.notes import NotesInput
from beatctl.activities.notify.happened import NotifyInput
from beatctl.activities.notify.telling import Teller
from beatctl.activities.processes import Spawner
from beatctl.activities.records import Status
from beatctl.activities.reopen_workspace import Reopened, ReopenInput
from beatctl.activities.run_agent import AgentResult, RunAgentInput
from beatctl.activities.run_evaluator import EvaluatorResult, RunEvaluatorInput
from beatctl.activities.snapshot_workspace import EditsInput, Opened, OpenInput, RestoreInput, Snapshot, SnapshotInput
from beatctl.activities.tickets import Hold, Ticket
from beatctl.activities.turns import NotStarted, Turns


class Activities:
    """Every activity of this host. Those that touch the workspace are never interrupted half-way."""

    def __init__(self, home: Home, spawner: Spawner, turns: Turns) -> None:
        self._home = home
        self._ledger = Ledger(home.ledger)
        self._spawner = spawner
        self._turns = turns
        self._teller = Teller(home)

    def _hold(self, loop: str, ticket: Ticket | None) -> Hold:
        return Hold(self._home.loop(loop), self._ledger, ticket)

    def all(self) -> list[Callable[..., Any]]:
        return [
            self.run_agent,
            self.run_evaluator,
            self.run_setup,
            self.open_workspace,
            self.reopen_workspace,
            self.snapshot_workspace,
            self.restore_workspace,
            self.find_edits,
            self.keep_notes,
            self.find_missing,
            self.conclude_iteration,
            self.look_up,
            self.publish_status,
            self.close_workspace,
            self.notify,
        ]

    @activity.defn
    async def run_agent(self, given: RunAgentInput) -> AgentResult:
        with snapshot_workspace.told_as_problem():
            self._turns.evaluated(given.loop)
            return await run_agent.run_agent(self._home, self._ledger, self._spawner, self._turns, given)

    @activity.defn
    async def run_evaluator(self, given: RunEvaluatorInput) -> EvaluatorResult:
        with snapshot_workspace.told_as_problem():
            return await run_evaluator.run_evaluator(self._home, self._ledger, self._spawner, self._turns, given)

    @activity.defn
    async def run_setup(self, given: RunEvaluatorInput) -> EvaluatorResult:
        with snapshot_workspace.told_as_problem():
            return await run_setup.run_setup(self._home, self._ledger, self._spawner, given)

    @activity.defn
    async def open_workspace(self, given: OpenInput) -> Opened:
        # The baseline is taken when it is its turn to be measured: the user's edits up to then belong to it.
        loop, hold = self._home.loop(given.loop), self._hold(given.loop, given.ticket)

        def work() -> Opened:
            with held(hold):
                return snapshot_workspace.open_workspace(self._home, given)

        with self._turns.for_evaluator(loop, "baseline", 0, loop.iteration(0) / "evaluator") as turn:
            try:
                async with beating() as beat:
                    await turn.take(beat)
            except NotStarted:
                raise asyncio.CancelledError from None
            opened = await in_thread_to_its_end(work)
        return opened.model_copy(update={"waited_s": turn.waited_s})

    @activity.defn
    async def reopen_workspace(self, given: ReopenInput) -> Reopened:
        hold = self._hold(given.loop, given.ticket)

        def work() -> Reopened:
            with held(hold):
                return reopen_workspace.reopen_workspace(self._home, given)

        return await in_thread_to_its_end(work)

    @activity.defn(no_thread_cancel_exception=True)
    def snapshot_workspace(self, given: SnapshotInput) -> Snapshot:
        with held(self._hold(given.loop, given.ticket)):
            return snapshot_workspace.snapshot_workspace(self._home, given)

    @activity.defn(no_thread_cancel_exception=True)
    def restore_workspace(self, given: RestoreInput) -> list[str]:
        with held(self._hold(given.loop, given.ticket)):
            return snapshot_workspace.restore_workspace(self._home, given)

    @activity.defn(no_thread_cancel_exception=True)
    def find_edits(self, given: EditsInput) -> list[str]:
        with held(self._hold(given.loop, given.ticket)):
            return snapshot_workspace.find_edits(self._home, given)

    @activity.defn(no_thread_cancel_exception=True)
    def keep_notes(self, given: NotesInput) -> None:
        with held(self._hold(given.loop, given.ticket)):
            notes.keep_notes(self._home, given)

    @activity.defn(no_thread_cancel_exception=True)
    def find_missing(self, given: MissingInput) -> str:
        return missing_files.find_missing(given)

    @activity.defn(no_thread_cancel_exception=True)
    def conclude_iteration(self, given: ConcludeInput) -> str | None:
        self._turns.evaluated(given.status.id)
        with held(self._hold(given.status.id, given.ticket), concluded=True):
            return conclude.conclude_iteration(self._home, self._ledger, given)

    @activity.defn(no_thread_cancel_exception=True)
    def look_up(self, loop: str) -> Kept:
        return conclude.look_up(self._home, self._ledger, loop)

    @activity.defn(no_thread_cancel_exception=True)
    def publish_status(self, status: Status) -> int | None:
        newer = conclude.publish_status(self._ledger, status)
        self._turns.heard(status)
        return newer

    @activity.defn(no_thread_cancel_exception=True)
    def close_workspace(self, given: CloseInput) -> Status:
        self._turns.heard(given.status)
        with held(self._hold(given.status.id, given.ticket), concluded=True):
            return conclude.close_workspace(self._home, self._ledger, given)

    @activity.defn
    async def notify(self, given: NotifyInput) -> None:
        await self._teller.tell(given)


@contextlib.contextmanager
def held(hold: Hold, *, concluded: bool = False) -> Iterator[None]:
    """The loop, held; what keeps it from that, such as a full disk, is a reason to pause as any other."""
    with contextlib.ExitStack() as stack:
        with snapshot_workspace.told_as_problem():
            stack.enter_context(hold.held(concluded=concluded))
        yield
