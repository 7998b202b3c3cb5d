"""One experiment whole: how it went, what the agent was asked and said, what the evaluator printed, what changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from beatctl.activities import packed
from beatctl.activities.masking import masked
from beatctl.activities.run_files import beside
from beatctl.cli import freed, render
from beatctl.cli.cells import wrap
from beatctl.cli.lineage import is_edits
from beatctl.cli.logs import Output, outputs, secrets_of_loop, tail
from beatctl.cli.loops import Loops
from beatctl.cli.output import paint, visible
from beatctl.cli.times import local
from beatctl.cli.units import in_words

if TYPE_CHECKING:
    from beatctl.activities.agents.spec import AgentSpec
    from beatctl.activities.records import AgentRow, Row, Status, Wait

_TAIL_LINES = 20
_PROMPT_LINES = 12
_DIFF_LINES = 80


@dataclass(frozen=True)
class Look:
    """How much is shown, and for what kind of screen."""

    whole_prompt: bool = False
    colours: bool = False
    columns: int = 100


def experiment_text(loops: Loops, status: Status, row: Row, look: Look) -> str:
    """An iteration in words, whatever of its files is still there."""
    parent = loops.ledger.row(status.id, row.parent) if row.parent is not None else None
    folder = loops.folder(status.id).iteration(row.iteration)
    lines = _head(status, row, parent, look)
    runs = outputs(folder)
    if not runs and not is_edits(row):
        why = freed.words(loops, status.id, "outputs") or "The files of its runs are gone."
        lines.append(f"  {'':<10}{why} Its prompt and what was printed can't be shown.")
    text = _Text(lines, look)
    agents = _last_tries([run for run in runs if run.kind.startswith("agent")])
    for run in agents.values():
        which = _which_run(run.kind, list(agents))
        _prompt(text, beside(run.files.run, "prompt.md"), f"Prompt{which}", f"{status.id} {row.iteration}")
        if len(agents) > 1:
            text.section(f"The agent said{which}", wrap(_said(loops, status, run), look.columns - 2))
    if row.notes:
        text.section("Your notes, in its prompt and those after it", list(row.notes))
    if row.summary and not is_edits(row) and len(agents) < 2:
        text.section("The agent said", wrap(visible(row.summary), look.columns - 2))
    for title, kind in (("The check's output", "check"), ("The evaluator's output", "evaluator")):
        _output(text, title, [run for run in runs if _is(run.kind, kind)])
    again = [run for run in runs if _is(run.kind, "best")]
    _output(text, "The evaluator's output for the best version, measured again", again)
    _changed(text, loops, status, row, parent)
    return masked("\n".join(text.lines) + "\n", secrets_of_loop(loops, status.id))


class _Text:
    def __init__(self, lines: list[str], look: Look) -> None:
        self.lines = lines
        self.look = look

    def section(self, title: str, lines: list[str], *, raw: bool = False) -> None:
        """A heading and what is below it; `raw` lines are ours, escape sequences included."""
        self.lines += ["", paint(title, "bold", on=self.look.colours)]
        self.lines += [f"  {line if raw else _printable(line)}".rstrip() for line in lines]


def _printable(line: str) -> str:
    """A line as it is indented, without what would move the cursor."""
    line = line.expandtabs(8)
    return "".join(c if c.isprintable() else " " for c in line)


def _head(status: Status, row: Row, parent: Row | None, look: Look) -> list[str]:
    on = look.colours
    best = status.best is not None and status.best.iteration == row.iteration and status.strategy == "optimize"
    verdict = paint(row.verdict, *render.VERDICT_STYLES.get(row.verdict, ()), on=on)
    mark = "  (the best)" if best and row.iteration else ""
    lines = [f"{paint(f'#{row.iteration}', 'bold', on=on)} {verdict}{mark}  {status.id}  {visible(status.goal)[:80]}"]
    percent = render.change(row.score, parent.score if parent else None)
    scored = render.score(row.score) + (f" ({percent} against #{row.parent})" if percent else "")
    agent = row.agent
    steps = agent.steps or [] if agent else []
    ref = f" (refs/beatctl/{status.id}/{row.iteration})" if row.snapshot else ""
    metrics = ", ".join(f"{visible(name)} {render.score(value)}" for name, value in row.metrics.items())
    for name, text in (
        ("score", scored if row.score is not None else ""),
        ("samples", ", ".join(render.score(value) for value in row.samples) if len(row.samples) > 1 else ""),
        ("metrics", metrics),
        ("reason", visible(row.reason or "")),
        ("repeat", _repeat_words(row)),
        ("edits", visible(row.summary) if is_edits(row) else ""),
        ("started", f"{local(row.started_at):%Y-%m-%d %H:%M:%S}, took {in_words(row.duration_s)}"),
        ("agent", _agent_words(agent) if agent else ""),
        *(("waited", _wait_words(wait)) for wait in row.waits),
        *((f"  step {number}", _agent_words(step)) for number, step in enumerate(steps, 1)),
        ("session", visible(agent.session_id) if agent and agent.session_id and not steps else ""),
        ("evaluator", _evaluator_words(row)),
        ("snapshot", f"{row.snapshot}{ref}" if row.snapshot else ""),
        ("logs", row.logs or ""),
    ):
        if text:
            lines.append(f"  {name:<10}{text}")
    return lines


def _repeat_words(row: Row) -> str:
    same = render.repeat_words(row)
    return f"{same}: it came to the same files" if same else ""


def _agent_words(agent: AgentRow) -> str:
    parts = [" ".join(word for word in (agent.name, agent.version) if word)]
    if agent.model:
        parts.append(visible(agent.model))
    parts.append(_exit_words(agent.exit_code))
    parts.append(in_words(agent.duration_s))
    if agent.cost_usd is not None:
        parts.append(f"{'~' if agent.cost_estimated else ''}${agent.cost_usd:.2f}")
    if agent.tokens is not None:
        parts.append(f"{agent.tokens:,} tokens")
    if agent.adopted:
        parts.append("adopted by a restarted worker")
    if agent.lost:
        parts.append(f"{agent.lost} lost and run again")
    return ", ".join(parts)


def _wait_words(wait: Wait) -> str:
    met = {"rate-limit": "limit", "overloaded": "overloaded service"}[wait.reason]
    spent = f"; the interrupted run cost ${wait.cost_usd:.2f}" if wait.cost_usd else ""
    return f"{in_words(int(wait.waited_s))} for {visible(wait.agent)}'s {met} ({visible(wait.error)[:120]}){spent}"


def _evaluator_words(row: Row) -> str:
    evaluator = row.evaluator
    return f"{_exit_words(evaluator.exit_code)}, {in_words(evaluator.duration_s)}" if evaluator is not None else ""


def _exit_words(code: int | None) -> str:
    if code is None:
        return "no exit code"
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"


def _is(kind: str, base: str) -> bool:
    """Whether a run's folder is one of these: `evaluator`, `evaluator-2`, …"""
    return kind == base or (kind.startswith(f"{base}-") and kind.removeprefix(f"{base}-").isdigit())


def _which_run(kind: str, kinds: list[str]) -> str:
    """Which of an iteration's agent runs this is: `, step 2`; `, run 1 of 2` where a limit ended the first of them."""
    steps = {name: _step_of(name) for name in kinds}
    step = f", step {steps[kind]}" if max(steps.values()) > 1 else ""
    runs = [name for name in kinds if steps[name] == steps[kind]]
    return step + (f", run {runs.index(kind) + 1} of {len(runs)}" if len(runs) > 1 else "")


def _step_of(kind: str) -> int:
    """Of `agent`, `agent-2` (run again), `agent-step2`, `agent-step2-2`."""
    found = re.fullmatch(r"agent(?:-step([0-9]+))?(?:-[0-9]+)?", kind)
    return int(found[1] or 1) if found else 1


def _last_tries(runs: list[Output]) -> dict[str, Output]:
    """The last try of each run, in the order they began."""
    return {run.kind: run for run in runs}


def _prompt(text: _Text, file: Path, title: str, words: str) -> None:
    try:
        with packed.opened(file) as stream:
            lines = stream.read().decode("utf-8", "replace").rstrip().splitlines()
    except OSError:
        return
    if text.look.whole_prompt or len(lines) <= _PROMPT_LINES + 3:
        text.section(f"{title}, {packed.place_of(file)}", lines)
        return
    text.section(f"{title}, its first {_PROMPT_LINES} of {len(lines)} lines", lines[:_PROMPT_LINES])
    text.lines.append(f"  … the whole: beatctl show {words} --prompt")


def _said(loops: Loops, status: Status, run: Output) -> str:
    """The last message of a pipeline's step, from what it printed."""
    from beatctl.activities import agents

    spec = _agent_spec(loops, status)
    if spec is None:
        return ""
    ended = run.files.ended() or {}
    code, signal = ended.get("exit_code"), ended.get("signal")
    message = beside(run.files.run, "last-message.txt")
    return visible(agents.read_outcome(spec, run.files.stdout, run.files.stderr, code, signal, message).summary)


def _agent_spec(loops: Loops, status: Status) -> AgentSpec | None:
    from beatctl.activities.agents.spec import AgentSpec

    try:
        return AgentSpec.model_validate(json.loads(loops.ledger.spec(status.id) or "{}")["agent"])
    except (KeyError, ValueError):
        return None


def _output(text: _Text, title: str, runs: list[Output]) -> None:
    """The end of what the last of some runs printed."""
    if not runs:
        return
    run = runs[-1]
    for stream, name in ((run.files.stdout, ""), (run.files.stderr, ", standard error")):
        said = tail(stream, _TAIL_LINES).rstrip().splitlines()
        if said:
            which = f", {run.kind}" if len(_last_tries(runs)) > 1 else ""
            text.section(f"{title}{which}{name} (its end; whole: {packed.place_of(stream)})", said)


def _changed(text: _Text, loops: Loops, status: Status, row: Row, parent: Row | None) -> None:
    """The experiment's diff, or where that is long what it comes to and how to see it."""
    if parent is None or not parent.snapshot or not row.snapshot:
        return
    from beatctl.activities.workspace import Workspace, WorkspaceProblem

    ends = (parent.snapshot, row.snapshot)
    title = f"Changed since #{parent.iteration}"
    try:
        workspace = Workspace.load(loops.folder(status.id))
        stat = workspace.diff(*ends, stat=True, color=text.look.colours).decode("utf-8", "replace").splitlines()
        if not stat:
            paths = workspace.changed_paths(*ends)
            text.section(title, [f"modes or folders alone: {', '.join(paths[:5])}" if paths else "nothing"])
            return
        text.section(title, stat, raw=text.look.colours)
        whole = workspace.diff(*ends, color=text.look.colours).decode("utf-8", "replace").splitlines()
    except (WorkspaceProblem, OSError) as problem:
        why = freed.words(loops, status.id, "snapshots")
        text.section(title, [f"The changes can't be shown: {why or problem}"])
        return
    if len(whole) > _DIFF_LINES:
        text.lines.append(f"  The whole ({len(whole):,} lines): beatctl diff {status.id} {row.iteration}")
    else:
        text.lines += ["", *(f"  {line if text.look.colours else _printable(line)}".rstrip() for line in whole)]
