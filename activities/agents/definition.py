"""An agent that the user's configuration defines: how it is run, and where it tells how it went."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from beatctl.activities.masking import is_secret_name

LAST_LINE = "last-line"
OUTPUT_FILE = "{output_file}"
Plain = str | bool | int | float


def _words(value: object) -> object:
    """A text is split as a shell would, without one."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError:
        raise ValueError("has a quote or backslash that is not closed") from None


def _flat(value: object) -> object:
    """`{info = {exit_status = "Submitted"}}`, as TOML has dotted keys, with its keys joined again."""
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for key, inner in value.items():
        flat = _flat(inner)
        found |= {f"{key}.{name}": one for name, one in flat.items()} if isinstance(flat, dict) else {key: flat}
    return found


def _environment(given: dict[str, str]) -> dict[str, str]:
    for name in given:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f'"{name}" is no name of a variable')
        if is_secret_name(name):
            raise ValueError(
                f"{name} looks like a secret, which would travel into the loop's history. Set it in the shell that "
                "starts the loop: its children have that shell's environment"
            )
    return given


Words = Annotated[list[str], BeforeValidator(_words)]
Values = Annotated[dict[str, Plain], BeforeValidator(_flat)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Reading(Strict):
    """Where a value is found: at a path in a JSON object, or by an expression in what was printed."""

    path: list[str] = []
    """Dotted, such as `usage.input_tokens`; of numbers, several are added up."""
    match: Values | None = None
    """What the JSON object must hold; None: as the whole output's."""
    pattern: str | None = None
    """A regular expression with one group, looked for in standard output, then standard error."""
    sum: bool = False
    """A number: added up over all that is found; else the last one is it."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, str):
            return {"path": [value]}
        if isinstance(value, list):
            return {"path": value}
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            return {**value, "path": [value["path"]]}
        return value

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        if value is not None and _compiled(value).groups != 1:
            raise ValueError("needs one group in parentheses: what it finds there is the value")
        return value

    @model_validator(mode="after")
    def _either(self) -> Reading:
        if bool(self.path) == (self.pattern is not None):
            raise ValueError("takes a path, or a pattern: one of them")
        if self.pattern is not None and self.match is not None:
            raise ValueError("match goes with a path, not with a pattern")
        return self


def _compiled(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except re.error as wrong:
        raise ValueError(f"is no regular expression: {wrong}") from None


class Output(Strict):
    """What is read after a run: JSON objects, one a line of standard output, or those of `{output_file}`."""

    match: Values = {}
    """Which JSON object is meant: the last one that holds these values."""
    success: Values = {}
    """What it must hold beside exit 0."""
    message: Reading | Literal["last-line"] = "last-line"
    session: Reading | None = None
    model: Reading | None = None
    version: Reading | None = None
    error: Reading | None = None
    cost: Reading | None = None
    """US dollars."""
    input_tokens: Reading | None = None
    """All that was sent, cached or not."""
    cached_tokens: Reading | None = None
    """Those of them that came from a cache."""
    output_tokens: Reading | None = None
    reset_at: Reading | None = None
    """When a limit ends: Unix seconds."""

    @field_validator("message", mode="before")
    @classmethod
    def _message(cls, value: object) -> object:
        # Validated here: of a union, pydantic would tell what is wrong with each of its members.
        return value if value == LAST_LINE or isinstance(value, Reading) else Reading.model_validate(value)


class AgentDefinition(Strict):
    """`[agents.NAME]` of an agent that beatctl does not know."""

    command: Words = Field(min_length=1)
    """With `{prompt}` or `{prompt_file}` where the prompt goes, `{output_file}` where it may write JSON."""
    prompt: Literal["argument", "file", "stdin"] | None = None
    """Where the command has no place for it: the last argument, the last argument as a file's name, standard input
    (the default)."""
    workspace: Words = []
    full: Words = []
    """Arguments for each of the permissions."""
    allow: Words = []
    """With `workspace`, for each command that the agent may run: `{command}`, and `{program}`, its first word."""
    model: Words = []
    """Arguments that choose a model: `["--model", "{model}"]`."""
    resume: Words = []
    """Arguments that go on with a session: `["--resume", "{session}"]`."""
    args: Words = []
    version: Words = []
    """Arguments that make it print its version."""
    install: str | None = None
    """What to type to get it."""
    environment: Annotated[dict[str, str], Field()] = {}
    rate_limit: str | None = None
    authentication: str | None = None
    """Regular expressions for what it prints then; case is ignored."""
    output: Output = Output()

    _checked = field_validator("environment")(_environment)

    @field_validator("rate_limit", "authentication")
    @classmethod
    def _expression(cls, value: str | None) -> str | None:
        if value is not None:
            _compiled(value)
        return value

    @model_validator(mode="after")
    def _places(self) -> AgentDefinition:
        placed = any(place in word for word in self.command for place in ("{prompt}", "{prompt_file}"))
        if placed and self.prompt is not None:
            raise ValueError(f'the command says where the prompt goes: leave out prompt = "{self.prompt}"')
        for words, name, places in (
            (self.model, "model", ("{model}",)),
            (self.resume, "resume", ("{session}",)),
            (self.allow, "allow", ("{command}", "{program}")),
        ):
            if words and not any(place in word for word in words for place in places):
                raise ValueError(f"{name} needs {' or '.join(places)} where the value goes")
        return self

    @property
    def writes_file(self) -> bool:
        return any(OUTPUT_FILE in word for word in (*self.command, *self.args, *self.environment.values()))


class KnownSettings(Strict):
    """`[agents.claude]`: settings of an agent that beatctl knows."""

    path: str | None = None
    """The program; else the one of that name on PATH."""
    model: str | None = None
    permissions: Literal["workspace", "full"] | None = None
    args: Words = []
    environment: Annotated[dict[str, str], Field()] = {}

    _checked = field_validator("environment")(_environment)


class AgentTables(BaseModel):
    """What the user's configuration says of agents, by name."""

    defined: dict[str, AgentDefinition] = {}
    known: dict[str, KnownSettings] = {}
