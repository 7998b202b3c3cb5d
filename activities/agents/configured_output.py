"""What a run of a configured agent left to be read: values in its JSON or its words, as its definition says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from beatctl.activities import packed
from beatctl.activities.agents.definition import AgentDefinition, Plain, Reading
from beatctl.activities.agents.outcome import Ended
from beatctl.activities.agents.output import Event, events

_LARGEST_FILE = 256 << 20
_NUMBER = re.compile(r"([\d][\d,]*(?:\.\d+)?)\s*([kKmM]?)")


def lines_of(path: Path) -> Iterator[str]:
    """Whatever was printed, line by line."""
    try:
        file = packed.opened(path)
    except OSError:
        return
    with file:
        while line := file.readline(1 << 20):
            yield line.decode("utf-8", "replace")


class Found:
    """What a run left to be read, by the definition."""

    def __init__(self, told: AgentDefinition, ended: Ended) -> None:
        self._told = told
        self._ended = ended
        self.last: Event | None = None
        """The last object that is meant."""
        self._numbers: dict[int, float] = {}
        self._texts: dict[int, str] = {}
        output = told.output
        readings = (
            *(output.message, output.session, output.model, output.version, output.error, output.cost),
            *(output.input_tokens, output.cached_tokens, output.output_tokens, output.reset_at),
        )
        wanted = [reading for reading in readings if isinstance(reading, Reading) and reading.path]
        if wanted or output.success:
            for event in _objects(told, ended):
                self._take(event, wanted)

    def holds(self, values: dict[str, Plain]) -> bool:
        return self.last is not None and _holds(self.last, values)

    def text(self, reading: Reading | str | None) -> str | None:
        if not isinstance(reading, Reading):
            return None
        if reading.pattern is not None:
            return next(reversed(self._matches(reading.pattern)), "").strip() or None
        return self._texts.get(id(reading))

    def number(self, reading: Reading | None) -> float | None:
        if reading is None:
            return None
        if reading.pattern is not None:
            numbers = [_number(said) for said in self._matches(reading.pattern)]
            told = [number for number in numbers if number is not None]
            return (sum(told) if reading.sum else told[-1]) if told else None
        return self._numbers.get(id(reading))

    def count(self, reading: Reading | None) -> int | None:
        value = self.number(reading)
        return int(value) if value is not None and 0 <= value < 1e15 else None

    def _take(self, event: Event, wanted: Sequence[Reading]) -> None:
        meant = _holds(event, self._told.output.match)
        if meant:
            self.last = event
        for reading in wanted:
            if not (meant if reading.match is None else _holds(event, reading.match)):
                continue
            values = [value_at(event, path) for path in reading.path]
            numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
            texts = [value for value in values if isinstance(value, str) and value.strip()]
            if numbers:
                before = self._numbers.get(id(reading), 0.0) if reading.sum else 0.0
                self._numbers[id(reading)] = before + sum(numbers)
            if texts:
                self._texts[id(reading)] = texts[0]

    def _matches(self, expression: str) -> list[str]:
        pattern = re.compile(expression)
        for path in (self._ended.stdout, self._ended.stderr):
            found = [match[1] for line in lines_of(path) if (match := pattern.search(line.rstrip("\r\n"))) and match[1]]
            if found:
                return found
        return []


def _objects(told: AgentDefinition, ended: Ended) -> Iterator[Event]:
    if not told.writes_file:
        return events(ended.stdout)
    try:
        with packed.opened(ended.last_message_file) as file:
            content = json.loads(file.read(_LARGEST_FILE))
    except OSError:
        return iter(())
    except (ValueError, RecursionError):  # no one document: a line each
        return events(ended.last_message_file)
    listed = content if isinstance(content, list) else [content]
    return chain(each for each in listed if isinstance(each, dict))


def _holds(event: Event, values: dict[str, Plain]) -> bool:
    # Python takes True for 1.
    return all(
        (there := value_at(event, path)) == value and isinstance(there, bool) == isinstance(value, bool)
        for path, value in values.items()
    )


def value_at(event: Event, path: str) -> object:
    """What stands at a dotted path; a number in it is a place in a list, counted from the end where negative."""
    value: object = event
    for key in path.split("."):
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and re.fullmatch(r"-?\d+", key) and -len(value) <= int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _number(text: str) -> float | None:
    """`0.04`, `1,200`, `12k`."""
    found = _NUMBER.search(text)
    if found is None:
        return None
    return float(found[1].replace(",", "")) * {"k": 1e3, "m": 1e6}.get(found[2].lower(), 1.0)
