"""LoopWorkflow: one loop, from its baseline to its end, as a chain of workflow runs."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from beatctl.activities.conclude import CloseInput, ConcludeInput
    from beatctl.activities.notify.happened import Event
    from beatctl.activities.records import Status
    from beatctl.activities.tickets import Ticket
    from beatctl.workflows import notes
    from beatctl.workflows.agent_runs import run_agents
    from beatctl.workflows.baseline import baseline
    from beatctl.workflows.calls import Behind, Calls, heed_cancel, problem_of
    from beatctl.workflows.details import details
    from beatctl.workflows.edits import take_in
    from beatctl.workflows.evaluating import evaluate
    from beatctl.workflows.going_on import caught_up, reopen
    from beatctl.workflows.iteration import Edited, Experiment, Undecided, begun, mark
    from beatctl.workflows.notifying import Notifier
    from beatctl.workflows.spec import Limits
    from beatctl.workflows.state import LoopInput, LoopState
    from beatctl.workflows.stopping import Reason, outcome_of, reason_to_end
    from beatctl.workflows.verdict import Judgement
    from beatctl.workflows.waiting import Stopped, cool_down, pause, wait_for_resume
    from beatctl.workflows.words import edited_words, end_words, unchanged_words

STATE = SearchAttributeKey.for_keyword("BeatctlState")
OUTCOME = SearchAttributeKey.for_keyword("BeatctlOutcome")
_FOUND_BY = [
    STATE,
    OUTCOME,
    *(SearchAttributeKey.for_keyword(f"Beatctl{name}") for name in ("Agent", "Folder", "Strategy", "Host")),
]
_HAND_OVER_BYTES = 1 << 20
"""Of history, half of what a run is to stay below: one more iteration, a pipeline's with many metrics, fits."""


class Ended(Exception):
    """By the ledger the loop has ended; the server had forgotten."""

    def __init__(self, status: Status) -> None:
        self.status = status


@workflow.defn(name="Loop")
class LoopWorkflow:
    """Works on one goal until it is reached or a limit ends it. Its result is the loop's last status."""

    @workflow.init
    def __init__(self, given: LoopInput) -> None:
        self.spec = given.spec
        self.state = given.state or LoopState(limits=given.spec.limits, started_at=workflow.now().timestamp())
        self.calls = Calls(self.spec, partial(wait_for_resume, self), self.ticket)
        self._notifier = Notifier(self)
        self.resumed = False
        self.limits_changed = False
        self.behind = False
        self._published = self.state.version
        self._shown = "running None"
        self.current: Experiment | None = None

    # What a person may ask for ------------------------------------------------------------------------------------

    @workflow.signal(name="pause")
    def pause_asked(self) -> None:
        if self.state.state in ("running", "waiting") and self.state.asked is None:
            self.state.asked = "pause"
            self.changed()

    @workflow.signal
    def resume(self) -> None:
        if self.state.state in ("paused", "waiting"):
            self.resumed = True
        elif self.state.asked == "pause":
            self.state.asked = None
            self.changed()

    @workflow.signal
    def stop(self) -> None:
        if self.state.outcome is None:
            self.state.asked = "stop"
            self.changed()

    @workflow.signal
    def note(self, text: str) -> None:
        if self.state.outcome is None and notes.add(self.state, text, self.time()):
            self.changed()

    @workflow.signal
    def clear_notes(self) -> None:
        if notes.clear(self.state):
            self.changed()

    @workflow.signal
    def notify_on(self, events: list[Event]) -> None:
        self.state.notify = events

    @workflow.signal
    def look_into_ledger(self) -> None:
        """Sent by the worker: the server's data was set back to a pause or a wait that is over."""
        self.behind = True

    @workflow.query
    def status(self) -> Status:
        return self.state.status(self.spec, self.time())

    @workflow.update
    def set_limits(self, changes: dict[str, Any]) -> dict[str, Any]:
        self.state.limits = Limits.model_validate({**self.state.limits.model_dump(), **changes})
        self.limits_changed = True
        self.changed()
        return self.state.limits.model_dump()

    @set_limits.validator
    def _check_limits(self, changes: dict[str, Any]) -> None:
        unknown = sorted(set(changes) - set(Limits.model_fields))
        if unknown:
            raise ApplicationError(f"No such limit: {', '.join(unknown)}", non_retryable=True)
        try:
            Limits.model_validate({**self.state.limits.model_dump(), **changes})
        except ValidationError as error:
            first = error.errors()[0]
            raise ApplicationError(f"{first['loc'][0]}: {first['msg']}", non_retryable=True) from None

    # The loop -----------------------------------------------------------------------------------------------------

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        publisher = asyncio.create_task(self._publish_changes())
        notifier = asyncio.create_task(self._notifier.run())
        cancelled: BaseException | None = None
        reason: Reason
        workflow.set_current_details(details(self.spec, self.state))
        try:
            reason, detail = await self._go()
        except Ended as ended:
            publisher.cancel()
            await self._notifier.end(ended.status)
            notifier.cancel()
            return ended.status
        except Stopped:
            reason, detail = "stopped", ""
        except (asyncio.CancelledError, FailureError) as error:
            if not is_cancelled_exception(error):
                reason, detail = "error", f"{problem_of(error)[1] if isinstance(error, FailureError) else error}"
            else:
                reason, detail, cancelled = "cancelled", "", error
        publisher.cancel()
        status = await self._close(reason, detail)
        await self._notifier.end(status)
        notifier.cancel()
        if cancelled is not None:
            raise cancelled
        return status

    async def _go(self) -> tuple[Reason, str]:
        """Work; where the ledger turns out to know more than this workflow, go on from there."""
        try:
            return await self._work()
        except Behind:
            kept = await self.calls.look_up()
        if kept.status is None:
            return "error", "Its start was given up: the ledger does not know it."
        if kept.status.state == "finished":
            raise Ended(kept.status)
        notify, tellings = self.state.notify, self.state.tellings
        self.state, self.current = caught_up(kept.status, self.time(), max(kept.ticket, self.state.ticket)), None
        self.state.taking_in = kept.taking_in
        self.state.notify, self.state.tellings = notify, tellings
        heed_cancel()
        return self._continue()

    async def _work(self) -> tuple[Reason, str]:
        """Baseline, then iterations until there is a reason to end."""
        state = self.state
        if state.caught_up:
            state.caught_up = False
            self.changed()
        if not state.opened:
            self.current = Experiment(0, self.time())
            ended = await baseline(self, self.current)
            self.current = None
            if ended is not None:
                return ended
        elif state.reopen:
            await reopen(self)
        elif state.taking_in:
            edited, state.taking_in = state.taking_in, []
            await take_in(self, edited, again=True)
        while True:
            heed_cancel()
            reason = reason_to_end(state.progress(self.spec, self.time()), state.limits)
            if reason is not None:
                return reason, ""
            if state.asked == "stop":
                return "stopped", ""
            edits: list[str] = []
            if state.limits.max_unchanged and state.unchanged >= state.limits.max_unchanged:
                edits = await self.pause("unchanged", unchanged_words(self.spec, state))
                state.unchanged = 0
            elif state.asked == "pause":
                edits = await self.pause("asked", "")
            elif not state.cooled:
                await self._cool_down()
                continue
            else:
                await self._hand_over()
                state.cooled = False
                await self._iterate()
            if edits:
                await take_in(self, edits)

    async def _iterate(self) -> None:
        it = self.current = begun(self)
        try:
            it.judgement = await run_agents(self, it) or await evaluate(self, it)
        except Undecided:
            self.state.put_off = it.put_off()
            self.current, self.state.cooled = None, True
            return
        except Edited as edited:
            self.state.put_off = it.put_off()
            edits = edited.paths
            if it.agents:  # an agent ran: its work is in the snapshot, and judged by nobody
                it.judgement = Judgement("inconclusive", f"files were edited {edited.when}")
                await self._conclude(it, restore=False)
            self.current = None
            if not edited.accepted:
                edits = await self.pause("edited", edited_words(self.spec.id, edits)) or edits
            await take_in(self, edits)
            return
        await self._conclude(it, restore=not it.judgement.edited)
        self.current = None
        if it.judgement.edited:
            await take_in(self, ["the evaluator's repair"])

    async def _conclude(self, it: Experiment, *, restore: bool = True) -> None:
        """Count the iteration, put the work tree where the next one starts, and write its row."""
        state, judged = self.state, it.judgement
        assert state.base is not None
        parent = state.base.iteration
        state.failures = state.failures + 1 if judged.failure else 0
        state.unchanged = 0 if it.changed else state.unchanged + 1
        state.last_words = it.summary[:300]
        state.since_keep = 0 if judged.verdict == "keep" else state.since_keep + 1
        if judged.verdict == "keep":
            state.kept += 1
            state.best = state.base = mark(it)
        elif judged.verdict == "pass":
            state.passed = True
            state.best = state.base = mark(it)
        elif self.spec.strategy == "retry" and self.spec.on_fail == "keep" and it.snapshot is not None:
            state.base = mark(it)
        await self.write(it, parent, state.base.snapshot if restore else None)
        self._notifier.concluded(kept=judged.verdict == "keep")

    async def write(self, it: Experiment, parent: int | None, restore: str | None) -> None:
        """Write the row, with the work tree put back to `restore` where that is given."""
        state = self.state
        row = it.row(self, parent)
        state.count(row)
        self.changed()
        self._published = state.version  # the row is written together with the status
        status = state.status(self.spec, self.time())
        it.written = row
        given = ConcludeInput(row=row, status=status, label=it.ref, restore=restore, keep=it.left())
        snapshot = await self.calls.conclude(given)
        for held in (state.best, state.base, state.baseline):
            if held is not None and held.iteration == it.number:
                held.snapshot = snapshot

    # Waiting and handing over -------------------------------------------------------------------------------------

    async def pause(self, reason: str, detail: str) -> list[str]:
        return await pause(self, reason, detail)

    async def _cool_down(self) -> None:
        await cool_down(self)

    def _is_long(self) -> bool:
        info = workflow.info()
        if info.get_current_history_length() >= self.spec.continue_as_new_events or info.is_continue_as_new_suggested():
            return True
        # Thousands of metrics, long last words: an iteration may be large.
        return info.get_current_history_size() >= _HAND_OVER_BYTES and workflow.patched("hand-over-by-size")

    async def _hand_over(self) -> None:
        """Go on as a new run of the chain once this run's history is long enough."""
        if not self._is_long():
            return
        await workflow.wait_condition(
            lambda: workflow.all_handlers_finished() and self._published >= self.state.version
        )
        self._continue()

    def _continue(self) -> NoReturn:
        """As a new run of the chain."""
        found_by = workflow.info().typed_search_attributes
        kept = [SearchAttributePair(key, value) for key in _FOUND_BY if (value := found_by.get(key)) is not None]
        # Else each run of a long chain would be found among the loops that run.
        workflow.upsert_search_attributes([STATE.value_set("continued")])
        workflow.continue_as_new(
            LoopInput(spec=self.spec, state=self.state), search_attributes=TypedSearchAttributes(kept)
        )

    async def _close(self, reason: Reason, detail: str) -> Status:
        """End the loop: what an interrupted run left is kept and undone, the folder is given back, the end is told."""
        state, it = self.state, self.current
        child_ran = it is not None and (it.touched or (it.running and state.state != "paused"))
        row = it.written if it is not None else None
        if it is not None and row is None and it.number == 0 and state.first is not None:
            it.judgement = Judgement("baseline", f"{reason} before it was judged")
            row = it.row(self, None)
            state.count(row)
        elif it is not None and row is None and it.number > 0 and (it.agents or child_ran):
            it.judgement = Judgement("inconclusive" if it.edits else "crash", f"{reason} before it was judged")
            row = it.row(self, state.base.iteration if state.base else None)
            state.count(row)
        state.end(
            reason,
            outcome_of(reason, state.progress(self.spec, self.time())),
            detail or end_words(state, reason),
            self.time(),
        )
        self.changed()
        interrupted = restore = None
        if it is not None and child_ran:
            interrupted = it.name if it.snapshot is None else it.left()
        if it is not None and state.base is not None:
            restore = it.snapshot if it.edits else state.base.snapshot
        closed = await self.calls.close(
            CloseInput(
                status=state.status(self.spec, self.time()),
                row=row,
                opened=state.first is not None,
                interrupted=interrupted,
                restore=restore,
            )
        )
        state.detail = closed.detail
        return closed

    # Telling ------------------------------------------------------------------------------------------------------

    def ticket(self) -> Ticket:
        """The next step's."""
        self.state.ticket += 1
        number = self.current.number if self.current is not None else self.state.iteration + 1
        return Ticket(number=self.state.ticket, iteration=number, version=self.state.version)

    def time(self) -> float:
        return self.state.time(workflow.now().timestamp())

    def tell(self, event: Event) -> None:
        self._notifier.tell(event)

    def doing(self, now: str) -> None:
        """Note what the loop does next, for the Web UI."""
        self.state.now = now
        workflow.set_current_details(details(self.spec, self.state))

    def changed(self) -> None:
        """The status has changed: the Web UI, the search attributes and the state folder are to know."""
        state = self.state
        state.version += 1
        workflow.set_current_details(details(self.spec, state))
        shown = f"{state.state} {state.outcome}"
        if shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes(
                [STATE.value_set(state.state), *([OUTCOME.value_set(state.outcome)] if state.outcome else [])]
            )

    async def _publish_changes(self) -> None:
        while True:
            await workflow.wait_condition(lambda: self.state.version > self._published)
            version = self.state.version
            try:
                newer = await self.calls.publish(self.state.status(self.spec, self.time()))
            except FailureError as error:
                if is_cancelled_exception(error):
                    return
                workflow.logger.warning("status not written: %s", error)
                newer = None
            self._published = max(self._published, version)
            if newer is not None:  # the server has forgotten what was counted
                self.state.version = max(self.state.version, newer)
                self.changed()
