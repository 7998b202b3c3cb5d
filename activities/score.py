"""Reading an evaluator's score: pure functions over what it printed.

The score is the last non-empty line of standard output, a plain decimal or one line of JSON with a `score`, or what was
written to `$BEATCTL_SCORE_FILE`, which wins. Anything else is no score, with that text as the reason.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field

from beatctl.activities.text import clean

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MOST_METRICS = 32
_SHOWN = 200


@dataclass(frozen=True)
class Score:
    """A score that can be compared, or the reason why there is none."""

    value: float | None
    problem: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)


def last_line(text: str) -> str:
    """The last line that is not blank, without its surrounding space; empty when there is none."""
    for line in reversed(text.splitlines()):
        if line.strip():
            return line.strip()
    return ""


def shown(text: str) -> str:
    """A line as messages quote it: printable, and short."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= _SHOWN else clean[: _SHOWN - 1] + "…"


def read_score(stdout_tail: str, score_file: str | None) -> Score:
    """The score in the end of an evaluator's output, or in its score file where that holds anything."""
    if score_file is not None and score_file.strip():
        return _parse(last_line(score_file), "The last line of $BEATCTL_SCORE_FILE")
    line = last_line(stdout_tail)
    if not line:
        return Score(None, "It printed nothing")
    return _parse(line, "Its last line")


def _parse(line: str, where: str) -> Score:
    if line.startswith("{"):
        return _parse_json(line, where)
    if not _DECIMAL.fullmatch(line):
        return Score(None, f'{where} was "{shown(line)}"')
    value = float(line)
    if not math.isfinite(value):
        return Score(None, f'{where} was "{shown(line)}", which is no finite number')
    return Score(value)


def _parse_json(line: str, where: str) -> Score:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return Score(None, f'{where} was "{shown(line)}", which is not one line of JSON')
    value = _number(document.get("score")) if isinstance(document, dict) else None
    if value is None:
        return Score(None, f'{where} was "{shown(line)}", which has no finite number as "score"')
    metrics = document.get("metrics")
    found = {clean(str(k)): _number(v) for k, v in metrics.items()} if isinstance(metrics, dict) else {}
    kept = [(k[:80], v) for k, v in found.items() if v is not None][:_MOST_METRICS]
    return Score(value, metrics=dict(kept))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
