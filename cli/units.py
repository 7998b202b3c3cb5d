"""Numbers and durations as people type them, and the sentence for each way to get one wrong. Pure."""

from __future__ import annotations

import math
import re

from beatctl.activities.figures import in_words as in_words

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|s|m|h|d)")
_PLAIN = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LONGEST = 10 * 365 * 86400.0
_LARGEST = 10**9


class BadValue(ValueError):
    """The sentence names the flag, what was wrong with the value and what would be right."""


def duration(text: str, flag: str, *, bare_milliseconds: bool = False) -> float:
    """Seconds in `30s`, `5m`, `1h30m`, `500ms`, `2d`. A bare 0 needs no unit; other bare numbers are milliseconds
    where `bare_milliseconds` says so and refused elsewhere."""
    word = text.strip().lower()
    if not word:
        raise BadValue(f"{flag} is empty. It takes a time such as 30s, 5m or 1h30m; 0 means none.")
    if word.startswith("-"):
        raise BadValue(f'{flag} can\'t be negative: "{text}". It takes a time such as 30s, 5m or 1h30m; 0 means none.')
    if _PLAIN.fullmatch(word):
        number = float(word)
        if number == 0:
            return 0.0
        if not bare_milliseconds:
            meant = ("s", "m", "h") if number < 1000 else ("ms", "s", "m")
            raise BadValue(f"{flag} {text} needs a unit: {text}{meant[0]}, {text}{meant[1]} or {text}{meant[2]}.")
        return _bounded(number / 1000.0, text, flag)
    total, end, smaller_than = 0.0, 0, math.inf
    for part in _PART.finditer(word):
        unit = _SECONDS[part[2]]
        if part.start() != end or unit >= smaller_than:
            break
        total, end, smaller_than = total + float(part[1]) * unit, part.end(), unit
    if end != len(word):
        units = "ms, s, m, h or d" if not bare_milliseconds else "ms (or no unit), s, m, h or d"
        raise BadValue(f'{flag} does not understand "{text}". Write a time such as 30s, 5m or 1h30m (units: {units}).')
    return _bounded(total, text, flag)


def _bounded(seconds: float, text: str, flag: str) -> float:
    if seconds > _LONGEST:
        raise BadValue(f'{flag} "{text}" is longer than ten years; 0 means no limit.')
    return round(seconds, 6)


def whole(text: str, flag: str, *, least: int = 0, none: str = "no limit") -> int:
    """A whole number from `least` on. `none` says what 0 means, for the sentence."""
    word = text.strip()
    zero = f", 0 for {none}" if least == 0 else ""
    if re.fullmatch(r"-[0-9]+(\.[0-9]+)?", word):
        raise BadValue(f'{flag} can\'t be negative: "{text}". It takes a whole number{zero}.')
    if not re.fullmatch(r"[0-9]+", word):
        raise BadValue(f'{flag} takes a whole number{zero}, not "{text}".')
    if len(word) > 12 or int(word) > _LARGEST:
        raise BadValue(f"{flag} {text} is more than {_LARGEST:,}" + ("; 0 means no limit." if least == 0 else "."))
    if int(word) < least:
        raise BadValue(f"{flag} must be at least {least}, not {text}.")
    return int(word)


def number(text: str, flag: str) -> float:
    """A finite decimal number: `171204`, `-0.5`, `1e-6`."""
    word = text.strip()
    if not _PLAIN.fullmatch(word) or not math.isfinite(float(word)):
        raise BadValue(f'{flag} takes a number such as 90 or -0.5, not "{text}".')
    return float(word)


def money(text: str, flag: str) -> float:
    """US dollars: `25`, `$0.50`."""
    word = text.strip().removeprefix("$")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?|\.[0-9]+", word):
        raise BadValue(f'{flag} takes US dollars such as 25 or 0.50, 0 for no limit, not "{text}".')
    if float(word) > _LARGEST:
        raise BadValue(f"{flag} {text} is more than {_LARGEST:,}; 0 means no limit.")
    return float(word)


def tokens(text: str, flag: str, *, none: str = "no limit") -> int:
    """A number of tokens: `200000`, `200k`, `1.5M`. `none` says what 0 means; empty where it means nothing."""
    word = text.strip()
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kKmM]?)", word.replace(",", "").replace("_", ""))
    count = float(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2].lower()] if match else 0.5
    if count != int(count):
        such = f"500000, 500k or 2M, 0 for {none}" if none else "4000 or 8k"
        raise BadValue(f'{flag} takes a number of tokens such as {such}, not "{text}".')
    if count > _LARGEST:
        raise BadValue(f"{flag} {text} is more than {_LARGEST:,}" + (f"; 0 means {none}." if none else "."))
    return int(count)


def size(count: int) -> str:
    """Bytes as people say them, in steps of 1000: `812 bytes`, `12 KB`, `1.2 MB`, `3.4 GB`."""
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    if count < 1_000_000:
        return f"{count / 1000:.0f} KB"
    return f"{count / 1e6:.1f} MB" if count < 999_950_000 else f"{count / 1e9:.1f} GB"
