"""Where `start`'s settings may come from, and which one holds. Pure.

A level is one place: the flags, the environment, the loop file, the repository's beatctl.toml, the user's config.toml.
What a loop is about (goal, evaluator, …) comes from flags and the loop file alone: a command that decides over work is
never picked up from where the user happens to stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from beatctl.activities.notify.addresses import FROM_ENVIRONMENT, NONE, shown
from beatctl.cli.limit_options import TypedLimits, flag_of
from beatctl.cli.problems import Usage
from beatctl.cli.start_options import Typed

Value = str | bool | tuple[str, ...]
Kind = Literal["text", "number", "switch", "list"]

_ONLY_FOR_THIS_LOOP = {
    *("goal", "until", "eval", "minimize", "maximize", "direction", "target", "pipeline", "steps", "branch"),
    *("directory", "on", "repo", "ref", "detach", "foreground", "dry_run"),
    "agent_args",  # they may permit an agent anything, which is not a repository's to say
}
_IN_THE_ENVIRONMENT_TOO = {"agent_args"}
_RIVALS = (("until", "eval"), ("minimize", "maximize", "direction"), ("detach", "foreground", "dry_run"))
"""Settings that contradict each other: the strongest level that gives one of them silences the weaker levels."""
_ONLY_WITH = {
    "until": ("on_fail",),
    "eval": ("minimize", "maximize", "direction", "target", "plateau"),
}
RESERVED = frozenset(
    f"BEATCTL_{name}"
    for name in (
        *("HOME", "HOST", "CONFIG", "TEMPORAL_CLI", "INHIBIT_SLEEP", "UNIT", "FAULT", "TEST_AGENTS"),
        *("CONTINUE_AS_NEW_EVENTS", "LIMIT_MARGIN_S", "HUNG_AFTER_S"),
        *("LOOP", "ITERATION", "STEP", "TRY", "SCORE_FILE", "RUN", "LOOP_ID", "LOOP_SCHEDULE", "RUN_BY_WORKER"),
        *("PROFILE", "PAYLOAD_KEY", "PAYLOAD_KEY_FILE"),
        *("EVENT", "GOAL", "STATE", "OUTCOME", "REASON", "BEST", "BASELINE", "TITLE", "TEXT"),
    )
)
"""Variables that mean something else: no setting may take one of these names."""


@dataclass(frozen=True)
class Key:
    """A setting: its name in files, the field of Typed (or of TypedLimits) that it fills, and what it takes."""

    name: str
    field: str
    kind: Kind
    is_limit: bool
    secret: bool = False
    """Its value is not to be shown."""

    @property
    def variable(self) -> str:
        return f"BEATCTL_{self.name.upper()}"

    @property
    def everywhere(self) -> bool:
        """Whether the environment, beatctl.toml and config.toml may give it; else only flags and the loop file."""
        return self.name not in _ONLY_FOR_THIS_LOOP

    @property
    def in_repository(self) -> bool:
        """Whether a repository's beatctl.toml may give it: not what sends the user's results somewhere."""
        return self.everywhere and self.name != "notify_command"

    def shown(self, value: Value) -> Value:
        """What may be shown of its value."""
        if not self.secret:
            return value
        if isinstance(value, tuple):
            return tuple(text if text == NONE or FROM_ENVIRONMENT.fullmatch(text) else shown(text) for text in value)
        return "…"

    @property
    def has_variable(self) -> bool:
        return self.everywhere or self.name in _IN_THE_ENVIRONMENT_TOO


def _keys() -> dict[str, Key]:
    found = {}
    for place, is_limit in ((Typed, False), (TypedLimits, True)):
        for each in fields(place):
            if each.name in ("limits", "names"):
                continue
            name = each.name.rstrip("_")
            kind: Kind = "number" if is_limit or each.metadata.get("number") else "text"
            if each.type == "bool":
                kind = "switch"
            elif str(each.type).startswith("tuple") and name != "goal":
                kind = "list"
            found[name] = Key(name, each.name, kind, is_limit, bool(each.metadata.get("secret")))
    return found


KEYS = _keys()
"""Every setting by its name in files. They are the fields of Typed and TypedLimits: nothing is listed twice."""

HOST_KEYS = {name: Key(name, name, "number", False) for name in ("max_concurrent_agents", "max_concurrent_evaluators")}
"""What is said of this host, not of loops: in the environment and the user's config.toml."""


@dataclass(frozen=True)
class Setting:
    """A value, and where it comes from."""

    value: Value
    source: str
    """For people: `./beatctl.toml:3`, `BEATCTL_AGENT`, `--agent`."""
    named: str
    """How a message names it: `./beatctl.toml:3: agent`, `BEATCTL_AGENT`, `--agent`."""
    level: str
    """flag, environment, loop file, repository, user."""


Level = Mapping[str, Setting]


def level_of_flags(typed: Typed) -> dict[str, Setting]:
    """What was typed as flags, by key."""
    found = {}
    for key in KEYS.values():
        value = getattr(typed.limits if key.is_limit else typed, key.field)
        if value is None or value is False or value == ():
            continue
        found[key.name] = Setting(value, flag_of(key.field), flag_of(key.field), "flag")
    return found


def level_of_environment(environ: Mapping[str, str]) -> dict[str, Setting]:
    """What variables such as BEATCTL_MAX_ITERATIONS say, a list's values with spaces between them; an empty one says
    nothing. Raises Usage."""
    found = {}
    for key in (*KEYS.values(), *HOST_KEYS.values()):
        text = environ.get(key.variable, "")
        if not key.has_variable or not text.strip():
            continue
        value: Value = text
        if key.kind == "switch":
            value = _switch(text, key.variable)
        elif key.kind == "list":
            value = tuple(text.split())
        found[key.name] = Setting(value, key.variable, key.variable, "environment")
    return found


def _switch(text: str, name: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise Usage(f'{name} takes 1 or 0, not "{text}".', help_of="start")


def misspelt_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like a setting's and are none, each with the one that was probably meant."""
    known = {key.name.upper() for key in (*KEYS.values(), *HOST_KEYS.values()) if key.has_variable}
    found = {}
    for name in environ:
        word = name.removeprefix("BEATCTL_")
        if word != name and word not in known and name not in RESERVED:
            meant = nearest(word, known)
            if meant:
                found[name] = f"BEATCTL_{meant}"
    return found


def merge(levels: Sequence[Level]) -> dict[str, Setting]:
    """What holds. `levels`: the strongest first."""
    found: dict[str, Setting] = {}
    rank: dict[str, int] = {}
    for number, level in enumerate(levels):
        for name, setting in level.items():
            if name not in found:
                found[name], rank[name] = setting, number
    for rivals in _RIVALS:
        told = [name for name in rivals if name in found and found[name].value]
        _drop(found, (name for name in told if rank[name] > min(rank[other] for other in told)))
    for strategy, other in (("until", "eval"), ("eval", "until")):
        if strategy in found and other not in found:
            _drop(found, (name for name in _ONLY_WITH[other] if name in found and rank[name] > rank[strategy]))
    for name in ("model", "agent_args"):
        if name in found and "agent" in found and rank["agent"] < rank[name]:
            # It was written for the agent beside it, or for the one that a weaker level names.
            meant = next((level["agent"].value for level in levels[rank[name] :] if "agent" in level), None)
            if meant not in (None, found["agent"].value):
                _drop(found, (name,))
    return found


def _drop(found: dict[str, Setting], names: Iterable[str]) -> None:
    for name in list(names):
        del found[name]


def typed_of(merged: Mapping[str, Setting]) -> Typed:
    """The settings as `choose` takes them; what is said of the host is no part of that."""
    plain: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    told = {name: setting for name, setting in merged.items() if name in KEYS}
    for name, setting in told.items():
        key = KEYS[name]
        value: Any = setting.value
        if key.field == "goal" and isinstance(value, str):
            value = (value,)
        (limits if key.is_limit else plain)[key.field] = value
    names = {KEYS[name].field: setting.named for name, setting in told.items() if setting.level != "flag"}
    return Typed(**plain, limits=TypedLimits(**limits), names=names)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, sorted(known), n=1, cutoff=0.75)), None)
