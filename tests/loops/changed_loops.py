"""LoopWorkflow as careless changes would leave it: each does at one point what no earlier version did there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from temporalio import workflow

from beatctl.activities.notify.happened import Event
from beatctl.activities.records import Status
from beatctl.workflows.agent_runs import run_agents
from beatctl.workflows.evaluating import evaluate
from beatctl.workflows.iteration import Experiment
from beatctl.workflows.loop import LoopWorkflow
from beatctl.workflows.state import LoopInput
from beatctl.workflows.waiting import wait_for_resume


@workflow.defn(name="Loop")
class LooksBeforeEachIteration(LoopWorkflow):
    """An activity more."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def _iterate(self) -> None:
        await self.calls.find_edits()
        await super()._iterate()


@workflow.defn(name="Loop")
class EvaluatesBeforeTheAgent(LoopWorkflow):
    """Two activities the other way round."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def _iterate(self) -> None:
        it = self.current = Experiment(self.state.iteration + 1, self.time())
        it.judgement = await evaluate(self, it)
        await run_agents(self, it)
        await self._conclude(it)


@workflow.defn(name="Loop")
class WritesNoRows(LoopWorkflow):
    """An activity less."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def write(self, it: Experiment, parent: int | None, restore: str | None) -> None:
        self.state.count(it.row(self, parent))
        self.changed()


@workflow.defn(name="Loop")
class MissesEditsOfAPause(LoopWorkflow):
    """An activity less after a signal."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def pause(self, reason: str, detail: str) -> list[str]:
        await wait_for_resume(self, reason, detail)
        return []


@workflow.defn(name="Loop")
class NeverCoolsDown(LoopWorkflow):
    """A timer less."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def _cool_down(self) -> None:
        self.state.cooled = True


@workflow.defn(name="Loop")
class NeverHandsOver(LoopWorkflow):
    """No new run of the chain."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def _hand_over(self) -> None:
        return


@workflow.defn(name="Loop")
class GoesOnWithoutTakingTheFolder(LoopWorkflow):
    """An activity less at the beginning."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        self.state.reopen = False
        return await super().run(given)


@workflow.defn(name="Loop")
class KeepsNoNotes(LoopWorkflow):
    """An activity less, which only some prompts need."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    @workflow.signal
    def note(self, text: str) -> None:
        super().note(text)
        self.state.notes_kept = True


@workflow.defn(name="Loop")
class TellsNobody(LoopWorkflow):
    """Activities less beside the loop."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    def tell(self, event: Event) -> None:
        pass


@workflow.defn(name="Loop")
class ClosesLater(LoopWorkflow):
    """A timer more at the end."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def _close(self, *words: Any) -> Status:
        await workflow.sleep(1)
        return await super()._close(*words)


@workflow.defn(name="Loop")
class LooksBehindAPatch(LoopWorkflow):
    """The first of these as it is to be done."""

    @workflow.run
    async def run(self, given: LoopInput) -> Status:
        return await super().run(given)

    async def _iterate(self) -> None:
        if workflow.patched("look-before-each-iteration"):
            await self.calls.find_edits()
        await super()._iterate()


Reaches = Callable[[Counter[str]], bool]
"""Whether a history comes to the point that was changed: by how often each activity is in it, `cooldown` (timers) and
`continued` (its end)."""

CARELESS: dict[type[LoopWorkflow], Reaches] = {
    LooksBeforeEachIteration: lambda has: has["run_agent"] > 0,
    EvaluatesBeforeTheAgent: lambda has: has["run_agent"] > 0,
    WritesNoRows: lambda has: has["conclude_iteration"] > has["open_workspace"],
    MissesEditsOfAPause: lambda has: has["find_edits"] > 0,
    NeverCoolsDown: lambda has: has["cooldown"] > 0,
    NeverHandsOver: lambda has: has["continued"] > 0,
    GoesOnWithoutTakingTheFolder: lambda has: has["reopen_workspace"] > 0,
    KeepsNoNotes: lambda has: has["keep_notes"] > 0,
    TellsNobody: lambda has: has["notify"] > 0,
    ClosesLater: lambda has: has["close_workspace"] > 0,
}
