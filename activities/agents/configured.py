"""An agent from the user's configuration: run as its definition says, and read where that says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from beatctl.activities.agents.adapter import Run, Told, argument
from beatctl.activities.agents.command import PROMPT, PROMPT_FILE, Command
from beatctl.activities.agents.configured_output import Found, lines_of, value_at
from beatctl.activities.agents.definition import LAST_LINE, OUTPUT_FILE, AgentDefinition
from beatctl.activities.agents.outcome import (
    NOT_STARTED,
    AgentOutcome,
    Ended,
    Kind,
    Prompted,
    Usage,
    paragraph,
    told_reset,
)
from beatctl.activities.agents.output import last_lines, said_lines
from beatctl.activities.agents.plain import plain_trouble
from beatctl.activities.agents.shell_line import simple_commands
from beatctl.activities.agents.spec import AgentSpec
from beatctl.activities.agents.troubles import told as in_words

_LAST_LINES = 5
"""Where a limit is looked for after exit 0: before them, the agent may have come through it by itself."""


class Configured:
    def command_line(self, agent: AgentSpec, run: Run) -> Prompted:
        told = _definition(agent)
        text, _ = argument(run)
        words = [*agent.argv, *told.args, *_permitted(agent, told)]
        if agent.model:
            words += [word.replace("{model}", agent.model) for word in told.model]
        if run.session:
            words += [word.replace("{session}", run.session) for word in told.resume]
        words += agent.args
        placed = any(place in word for word in agent.argv for place in (PROMPT, PROMPT_FILE))
        stdin = None
        if not placed and told.prompt == "argument":
            words.append(PROMPT)
        elif not placed and told.prompt == "file":
            words.append(PROMPT_FILE)
        elif not placed:
            stdin = str(run.prompt_file)
        # The prompt last: what it holds is never taken for a place.
        files = ((OUTPUT_FILE, str(run.last_message_file)), (PROMPT_FILE, str(run.prompt_file)))
        filled = [_filled(word, files).replace(PROMPT, text) for word in words]
        environment = {name: _filled(value, files) for name, value in told.environment.items()}
        return Prompted(argv=filled, stdin=stdin, environment=environment)

    def saying(self, tail: bytes, directory: str) -> str:
        return Command().saying(tail, directory)

    def tells(self, agent: AgentSpec) -> frozenset[Told]:
        output = _definition(agent).output
        tokens: set[Told] = {"tokens"} if output.input_tokens or output.output_tokens else set()
        return frozenset(tokens | ({"cost"} if output.cost else set()))

    def refusal(self, agent: AgentSpec, environ: dict[str, str]) -> str | None:
        if agent.model and not _definition(agent).model:
            return (
                f'Agent "{agent.name}" takes no model: its definition does not say how. Leave out --model, or write '
                f'into [agents.{agent.name}]: model = ["--model", "{{model}}"]'
            )
        return None

    def read(self, agent: AgentSpec, ended: Ended) -> AgentOutcome:
        told = _definition(agent)
        output = told.output
        found = Found(told, ended)
        usage = Usage(
            input_tokens=found.count(output.input_tokens) or 0,
            cached_tokens=found.count(output.cached_tokens) or 0,
            output_tokens=found.count(output.output_tokens) or 0,
        )
        tokens = usage.input_tokens + usage.output_tokens
        last_line = "".join(last_lines(ended.stdout))
        message = last_line if output.message == LAST_LINE else found.text(output.message)
        outcome = AgentOutcome(
            ok=False,
            kind="done",
            summary=paragraph(message or ""),
            session_id=found.text(output.session),
            model=found.text(output.model),
            version=found.text(output.version),
            cost_usd=found.number(output.cost),
            tokens=tokens or None,
            usage=[usage] if tokens else [],
        )
        succeeded = not output.success or found.holds(output.success)
        kind, error = _problem(agent, told, ended, found, succeeded=succeeded, last_line=last_line)
        if kind == "done":
            return outcome.model_copy(update={"ok": True})
        if kind == "failed" and (plain := plain_trouble(ended)):
            kind, error = in_words(agent.name, plain.kind, plain.said, "")
            return outcome.model_copy(update={"kind": kind, "error": error, "reset_at": plain.reset_at})
        reset = told_reset(found.number(output.reset_at)) if kind == "rate-limited" else None
        if kind == "rate-limited" and reset is None:
            reset = ended.reset_in(error or "")
        return outcome.model_copy(update={"kind": kind, "error": error, "reset_at": reset})


def _definition(agent: AgentSpec) -> AgentDefinition:
    if agent.definition is None:
        raise ValueError(f"Agent {agent.name} has no definition")
    return agent.definition


def _permitted(agent: AgentSpec, told: AgentDefinition) -> list[str]:
    if agent.permissions == "full":
        return told.full
    # An agent asks for each command of a pipeline on its own.
    pieces = [piece for command in agent.allowed_commands for piece in simple_commands(command)]
    allowed = dict.fromkeys(
        tuple(word.replace("{command}", piece).replace("{program}", _program(piece)) for word in told.allow)
        for piece in pieces
    )
    return [*told.workspace, *(word for words in allowed for word in words)]


def _program(command: str) -> str:
    """The first word that sets no variable."""
    words = command.split()
    return next((word for word in words if not re.match(r"\w+=", word)), words[0])


def _filled(word: str, files: Sequence[tuple[str, str]]) -> str:
    for place, path in files:
        word = word.replace(place, path)
    return word


def _problem(
    agent: AgentSpec, told: AgentDefinition, ended: Ended, found: Found, *, succeeded: bool, last_line: str
) -> tuple[Kind, str | None]:
    """What went wrong, in words; `done` where nothing did."""
    complaint = paragraph(" ".join(last_lines(ended.stderr, 3)), 500)
    if ended.exit_code in NOT_STARTED and not complaint and not last_line:
        return "missing", f"{agent.name} could not be started: it {ended.how}"
    well = ended.well and succeeded
    # Some exit 0 after their limit: where no JSON says that it went well, the last lines are looked at.
    if not (well and told.output.success):
        for expression, kind in ((told.authentication, "authentication"), (told.rate_limit, "rate-limited")):
            line = _line_like(expression, ended, last=_LAST_LINES if well else None)
            if line and kind == "authentication":
                return "authentication", f"{agent.name} is not logged in: {line}"
            if line:
                return "rate-limited", f"{agent.name}'s limit is reached: {line}"
    if well:
        return "done", None
    said = paragraph(found.text(told.output.error) or complaint or last_line, 500)
    how = ended.how if not ended.well else _missing(told, found)
    return "failed", f"{agent.name} {how}" + (f": {said}" if said else "")


def _missing(told: AgentDefinition, found: Found) -> str:
    if found.last is None:
        where = "no output file" if told.writes_file else "no line of JSON"
        return f"exited with 0, but {where} says how it went"
    wanted = ", ".join(f"{path} {json.dumps(value)}" for path, value in told.output.success.items())
    there = ", ".join(f"{path} is {json.dumps(value_at(found.last, path))}" for path in told.output.success)
    return f"did not succeed: {there}, not {wanted}"


def _line_like(expression: str | None, ended: Ended, *, last: int | None) -> str | None:
    """The last line that an expression fits; `last`: among so many of either output, else of all of it."""
    if expression is None:
        return None
    pattern = re.compile(expression, re.IGNORECASE)
    for path in (ended.stderr, ended.stdout):
        lines = lines_of(path) if last is None else iter(last_lines(path, last))
        fitting = None
        for line in lines:
            if pattern.search(line):
                fitting = line
        if fitting is not None:
            return paragraph(" ".join(said_lines(fitting.encode("utf-8", "replace"))), 300)
    return None
