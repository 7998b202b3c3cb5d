"""Measuring a folder as a loop would at its start: no loop, no agent, no server, and the folder is as before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.activities import missing_files, run_agent
from beatctl.activities.child import Finished
from beatctl.activities.masking import secrets_of
from beatctl.activities.processes import Lost, Spawner, StartFailed, end, new_try, wait
from beatctl.activities.records import Mark
from beatctl.activities.run_evaluator import EvaluatorResult, RunEvaluatorInput, prepare, read_result, run_path
from beatctl.activities.run_setup import read_setup
from beatctl.activities.workspace import FolderInUse, Workspace, WorkspaceProblem, hold, remove_worktree
from beatctl.activities.workspace.files import remove_tree, write_json
from beatctl.cli.loops import folder_in_use, new_id
from beatctl.cli.problems import Unavailable, Usage
from beatctl.cli.starting import make_spec, write_folder
from beatctl.cli.worktree import make_own_worktree
from beatctl.workflows.agent_runs import standing
from beatctl.workflows.baseline import baseline_problem
from beatctl.workflows.calls import task_of
from beatctl.workflows.state import LoopState
from beatctl.workflows.verdict import score_of

if TYPE_CHECKING:
    from beatctl.activities.agents import Prompted
    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.home import LoopFolder
    from beatctl.activities.workspace import Origin
    from beatctl.cli.follow import Signals
    from beatctl.cli.loops import Loops
    from beatctl.cli.start_options import Chosen
    from beatctl.workflows.spec import LoopSpec

TIMES = 3
_LOOK_S = 0.05


class Interrupted(Exception):
    """The user wants no more; the child is gone, the folder is put back."""


@dataclass
class Measured:
    """What was found out."""

    spec: LoopSpec
    problem: str | None = None
    """Why no loop could begin."""
    setup: EvaluatorResult | None = None
    check: EvaluatorResult | None = None
    runs: list[EvaluatorResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    """Of iteration 1: one for each step of a pipeline, else one."""
    command: Prompted | None = None
    """The agent's command line in iteration 1."""
    prompt_file: str = ""
    put_back: list[str] = field(default_factory=list)
    """Paths that changed while a command ran."""
    kept: list[str] = field(default_factory=list)
    """Names of what those were changed to: refs, or a folder."""


def measure(
    loops: Loops,
    chosen: Chosen,
    agent: AgentSpec,
    place: Path,
    root: Path,
    origin: Origin | None,
    *,
    allow_large: bool,
    signals: Signals,
    tell: Callable[[str, EvaluatorResult], None],
) -> Measured:
    """Take the folder as a loop would, run setup, check and evaluator there, and put everything back.

    `tell(what, result)` is called after each run. Raises Usage where the folder is in use, Unavailable where it can't
    be taken, Interrupted.
    """
    loop = new_id({status.id for status in loops.all()})
    if origin is not None:
        root = loops.home.worktrees / loop
        place = root / origin.below
    spec = make_spec(loops, chosen, loop, agent, place, root, None, origin=origin, allow_large=allow_large)
    measured = Measured(spec)
    with _held_folder(loops, spec, origin, measured):
        try:
            asyncio.run(_Measuring(loops, spec, signals, tell, measured).all())
        except (WorkspaceProblem, StartFailed, Lost, OSError) as problem:
            raise Unavailable(str(problem)) from problem
    return measured


@contextlib.contextmanager
def _held_folder(loops: Loops, spec: LoopSpec, origin: Origin | None, measured: Measured) -> Iterator[None]:
    """The folder is this process's while the block runs; nothing that was made for it is left."""
    folder, root = loops.folder(spec.id), Path(spec.worktree)
    try:
        with hold(loops.home, root, spec.id, loops.is_live):
            _mark(folder, root, origin)
            if origin is not None:
                make_own_worktree(origin, root, None)
            write_folder(loops, spec.id, Path(spec.directory))
            yield
    except FolderInUse as used:
        raise (Usage(used.text) if used.busy else folder_in_use(used.loop)) from None
    finally:
        if origin is not None:
            with contextlib.suppress(WorkspaceProblem, OSError):
                remove_worktree(origin.top, root, None)
        folder.environment.unlink(missing_ok=True)
        if not measured.kept:
            shutil.rmtree(folder.root, ignore_errors=True)
        elif str(folder.root) not in measured.kept:  # refs: the mark tells `gc` whose they are
            for path in folder.root.iterdir():
                if path != folder.dry_run:
                    remove_tree(os.fsencode(path))


def _mark(folder: LoopFolder, root: Path, origin: Origin | None) -> None:
    """Say what the folder is: killed, the ledger would know nothing of it."""
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    note = {"worktree": str(root), "origin": str(origin.top) if origin is not None else None}
    write_json(folder.dry_run, note, lasting=True)


class _Measuring:
    def __init__(
        self,
        loops: Loops,
        spec: LoopSpec,
        signals: Signals,
        tell: Callable[[str, EvaluatorResult], None],
        measured: Measured,
    ) -> None:
        self._loops = loops
        self._home = loops.home
        self._spec = spec
        self._signals = signals
        self._tell = tell
        self._measured = measured
        self._spawner = Spawner()
        self._lefts = 0

    async def all(self) -> None:
        spec, measured = self._spec, self._measured
        try:
            if spec.setup is not None:
                measured.setup = done = await self._run("setup", spec.setup, spec.setup_timeout_s)
                if done.ended_by != "exit" or done.exit_code != 0:
                    measured.problem = f"The setup failed. {done.words()}. Command: {spec.setup}"
                    return
            self._heed()
            folder = self._loops.folder(spec.id)
            folder.task.write_text(task_of(spec).model_dump_json(), encoding="utf-8")
            workspace = Workspace.open(
                folder, Path(spec.worktree), allow_large=spec.allow_large, own_worktree=spec.origin is not None
            )
            measured.warnings = workspace.warnings
            try:
                await self._judge(workspace)
                self._ask()
            finally:
                self._close(workspace)
        finally:
            await self._spawner.close()

    async def _judge(self, workspace: Workspace) -> None:
        spec, measured = self._spec, self._measured
        limit = spec.limits.eval_timeout_s
        if spec.check is not None:
            measured.check = done = await self._run_and_put_back(workspace, "check", spec.check, limit)
            if done.ended_by != "exit" or done.exit_code != 0:
                measured.problem = f"The check fails on the untouched folder. {done.words()}"
        for number in range(1, max(TIMES, spec.samples) + 1) if measured.problem is None else ():
            name = "evaluator" if number == 1 else f"evaluator-{number}"
            measured.runs.append(await self._run_and_put_back(workspace, name, spec.evaluator, limit))
            measured.problem = baseline_problem(spec, measured.runs)
            if measured.problem is not None:
                break
        if spec.origin is not None and (measured.problem or any(run.exit_code for run in measured.runs)):
            given = missing_files.MissingInput(origin=spec.origin, worktree=spec.worktree, directory=spec.directory)
            missing = missing_files.find_missing(given)
            if missing:
                measured.warnings = [*measured.warnings, missing]

    async def _run_and_put_back(self, workspace: Workspace, name: str, command: str, limit: float) -> EvaluatorResult:
        try:
            return await self._run(name, command, limit)
        finally:
            self._lefts += 1
            left = f"left{self._lefts}"
            changed = workspace.restore(workspace.baseline, keep=left)
            if changed:
                self._measured.put_back += [path for path in changed if path not in self._measured.put_back]
                if self._spec.origin is None:
                    self._measured.kept.append(left)

    async def _run(self, name: str, command: str, limit: float) -> EvaluatorResult:
        self._heed()
        given = RunEvaluatorInput(
            loop=self._spec.id,
            iteration=0,
            run=name,
            command=command,
            timeout_s=limit,
            directory=self._spec.directory,
            scored=name.startswith("evaluator") and self._spec.strategy == "optimize",
        )
        run = run_path(self._home, given)
        try_ = new_try(run, prepare(self._home, given, run))
        await self._spawner.start(try_)
        waiting = asyncio.create_task(wait(try_))
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=_LOOK_S)
            if self._signals.came is not None:
                waiting.cancel()
                await end(try_)
                raise Interrupted
        read = read_setup if name == "setup" else read_result
        result = read(
            given, Finished(try_, waiting.result(), adopted=False, lost=0), run, secrets_of(self._loops.environ)
        )
        self._tell(name, result)
        return result

    def _heed(self) -> None:
        if self._signals.came is not None:
            raise Interrupted

    def _ask(self) -> None:
        """What the agent of iteration 1 would be asked, and how."""
        spec, measured = self._spec, self._measured
        if measured.problem is not None:
            return
        state = LoopState(limits=spec.limits, started_at=time.time())
        state.baseline = Mark(iteration=0, score=score_of(measured.runs, len(measured.runs)))
        state.best = state.baseline if spec.strategy == "optimize" else None
        steps = [
            run_agent.RunAgentInput(
                loop=spec.id,
                run="agent",
                agent=spec.agent,
                timeout_s=spec.limits.agent_timeout_s,
                directory=spec.directory,
                worktree=spec.worktree,
                standing=standing(spec, state, 1, step),
            )
            for step in range(1, max(1, len(spec.steps)) + 1)
        ]
        run = self._loops.folder(spec.id).iteration(1) / "agent"
        measured.prompts = [run_agent.prompt_of(self._home, self._loops.ledger, given)[0] for given in steps]
        measured.command = run_agent.command_of(steps[0], measured.prompts[0], run)
        measured.prompt_file = str(run_agent.prompt_file(run))

    def _close(self, workspace: Workspace) -> None:
        """Let go of the snapshots, except of what was found where it had to be put back: it may be the user's."""
        workspace.close()
        kept = self._measured.kept
        workspace.forget(but=kept)
        if kept and (Path(self._spec.worktree) / ".git").exists():
            self._measured.kept = [f"refs/beatctl/{self._spec.id}/{name}" for name in kept]
        elif kept:
            self._measured.kept = [str(self._loops.folder(self._spec.id).root)]
