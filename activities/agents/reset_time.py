"""When an agent's limit ends, read from what it printed: a pure function of the text and the time it was printed.

Understood are a moment (`…reached|1751230800`, `"resets_at": 1751230800`, `reset: 2026-10-03T14:00:00Z`), a time to
wait (`try again in 3 hours 2 minutes`, `reset after 12h3m`, `"retryDelay": "20s"`, `retry-after: 20`), and a time by
the clock (`resets 10pm (Europe/Lisbon)`, `resets Oct 3, 2pm`, `try again at Oct 3rd, 2026 2:00 PM`). A text that has
several of them counts for the first kind of this list, and there for what it tells last.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

_GRACE = timedelta(minutes=10)
"""A clock time that is over for no longer than this is today's: agents leave out the seconds, and some try for a while
before they give up."""

_BEFORE = r"\b(?:reset(?:s|ting)?|retry|try\s+again|again|available|wait|until)\b"
_EPOCH = re.compile(r"(?:limit\s+reached\s*\||reset[\w-]*[\"']?\s*[:=|]\s*[\"']?)(\d{10}|\d{13})(?!\d)", re.IGNORECASE)
_ISO = re.compile(
    r"reset[^\n|]{0,40}?(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?)"
    rf"|{_BEFORE}[^\n|]{{0,20}}?(\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)",
    re.IGNORECASE,
)
_HTTP_DATE = re.compile(r"retry-after[\"']?\s*[:=]\s*[\"']?(\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT)", re.IGNORECASE)
_MILLISECONDS = re.compile(r"(?:retry-after-ms|retryDelayMs)[\"']?\s*[:=]\s*[\"']?(\d+(?:\.\d+)?)", re.IGNORECASE)
_SECONDS = re.compile(
    r"(?:retry-after|retry_after|resets?[_-](?:in|after)[_-]seconds)[\"']?\s*[:=]\s*[\"']?(\d+(?:\.\d+)?)(?![\w.:])",
    re.IGNORECASE,
)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_AMOUNT = (
    r"(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)(?![a-z])"
)
_AMOUNTS = re.compile(_AMOUNT.replace("(?![a-z])", ""), re.IGNORECASE)
_DURATION = re.compile(
    rf"(?:{_BEFORE}[^\n.;]{{0,30}}?\b(?:in|after|for)\s+(?:about\s+|another\s+|approximately\s+)?"
    r"|(?:retryDelay|ratelimit-reset[\w-]*)[\"']?\s*[:=]\s*[\"']?)"
    rf"((?:{_AMOUNT.replace('(?![a-z])', '')}(?:\s*,?\s*(?:and\s+)?))+)(?![a-z])",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(
    rf"{_BEFORE}(?:\s+(?:at|on|by|after|until|again))*\s+"
    rf"(?:(?P<day_name>(?:{'|'.join(_DAYS)})[a-z]*|today|tomorrow),?\s+(?:at\s+)?)?"
    rf"(?:(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?\s+(?P<day>\d\d?)(?:st|nd|rd|th)?"
    r"(?:,?\s+(?P<year>\d{4}))?(?:,|\s|at)*)?"
    r"(?:(?P<hour>\d\d?)(?::(?P<minute>\d\d))?(?::\d\d)?\s*(?P<half>[ap]\.?m\b)?|(?P<word>midnight|noon))?"
    r"\s*(?:\((?P<named>[A-Za-z0-9_+/-]+)\)|(?P<short>UTC|GMT|[ECMP][SD]?T|Pacific|Z)\b)?",
    re.IGNORECASE,
)
_SHORT_ZONES = {"u": "UTC", "g": "UTC", "z": "UTC"} | {
    "e": "America/New_York",
    "c": "America/Chicago",
    "m": "America/Denver",
    "p": "America/Los_Angeles",
}


def reset_time(text: str, now: datetime) -> float | None:
    """Unix seconds at which the limit that `text` tells of ends; None where it does not tell.

    `now`: when the text was printed, aware, in the zone of the machine that printed it. A time without a date is its
    next occurrence; a date without a year the nearest; one without a zone, or in a zone nobody knows, is the machine's.
    The result may lie before `now` where the text says so.
    """
    flat = "\n".join(" ".join(line.split()) for line in text.splitlines())
    for read in (_moment, _wait, _clock):
        at = read(flat, now)
        if at is not None and math.isfinite(at):
            return at
    return None


def _moment(text: str, now: datetime) -> float | None:
    if found := _last(_EPOCH, text):
        return float(found[1]) / (1000 if len(found[1]) == 13 else 1)
    if found := _last(_ISO, text):
        return _tried(datetime.fromisoformat, found[1] or found[2], now)
    if found := _last(_HTTP_DATE, text):
        return _tried(parsedate_to_datetime, found[1], now)
    return None


def _tried(read: Callable[[str], datetime], text: str, now: datetime) -> float | None:
    try:
        at = read(text)
        return (at if at.tzinfo else at.replace(tzinfo=now.tzinfo)).timestamp()
    except (ValueError, OverflowError):
        return None


def _wait(text: str, now: datetime) -> float | None:
    if found := _last(_DURATION, text):
        amounts = _AMOUNTS.findall(found[1])
        return now.timestamp() + sum(float(number) * _UNITS[_unit(word)] for number, word in amounts)
    if found := _last(_MILLISECONDS, text):
        return now.timestamp() + float(found[1]) / 1000
    if found := _last(_SECONDS, text):
        return now.timestamp() + float(found[1])
    return None


def _unit(word: str) -> str:
    small = word.lower()
    return "ms" if small.startswith(("ms", "milli")) else small[0]


def _clock(text: str, now: datetime) -> float | None:
    at = None
    for found in _CLOCK.finditer(text):
        at = _by_clock(found, now) or at
    return at


def _by_clock(found: re.Match[str], now: datetime) -> float | None:
    hour = _hour(found)
    if hour is None and found["month"] is None:
        return None
    zone = _zone(found["named"] or _SHORT_ZONES.get((found["short"] or "")[:1].lower()), now.tzinfo or UTC)
    here = now.astimezone(zone)
    try:
        at = time(hour or 0, int(found["minute"] or 0))
        if found["month"]:
            return _nearest(found, at, here)
        return _next(found["day_name"], at, here)
    except (ValueError, OverflowError):
        return None


def _hour(found: re.Match[str]) -> int | None:
    """0 to 23, or more where the text is wrong; None where a number is no time (`try again 3 times`)."""
    if found["word"]:
        return 12 if found["word"].lower() == "noon" else 0
    if found["hour"] is None or not (found["half"] or found["minute"]):
        return None
    hour = int(found["hour"])
    if not found["half"]:
        return hour
    return hour % 12 + (12 if found["half"].lower().startswith("p") else 0) if 1 <= hour <= 12 else 24


def _nearest(found: re.Match[str], at: time, here: datetime) -> float:
    """A day of a month at a time; without a year, the one nearest to now."""
    month, day = _MONTHS.index(found["month"].lower()) + 1, int(found["day"])
    years = [int(found["year"])] if found["year"] else [here.year + step for step in (-1, 0, 1)]
    moments = []
    for year in years:
        # A year without this day (29 February) is passed over.
        if day <= _days_of(year, month):
            moments.append(datetime.combine(date(year, month, day), at, here.tzinfo).timestamp())
    if not moments:
        raise ValueError(f"no month has a day {day}")
    return min(moments, key=lambda moment: abs(moment - here.timestamp()))


def _days_of(year: int, month: int) -> int:
    after = date(year + month // 12, month % 12 + 1, 1)
    return (after - timedelta(days=1)).day


def _next(day_name: str | None, at: time, here: datetime) -> float | None:
    """The next moment at which the clock there shows this, on the day that is named."""
    name = (day_name or "").lower()
    for days in range(9):
        day = here.date() + timedelta(days=days)
        if name[:3] in _DAYS and day.weekday() != _DAYS.index(name[:3]):
            continue
        if name == "tomorrow" and days == 0:
            continue
        # Where the clock is put back, it shows an hour twice.
        for fold in (0, 1):
            moment = datetime.combine(day, at.replace(fold=fold), here.tzinfo)
            if moment.timestamp() > (here.astimezone(UTC) - _GRACE).timestamp():
                return moment.timestamp()
    return None


def _zone(name: str | None, own: tzinfo) -> tzinfo:
    try:
        return ZoneInfo(name) if name else own
    except (ValueError, OSError, KeyError):
        return own


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


class MachineZone(tzinfo):
    """This machine's zone with its rules for every day of the year; `datetime.astimezone()` has today's alone."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return None if at is None else at.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, at: datetime | None) -> timedelta | None:
        return None

    def tzname(self, at: datetime | None) -> str | None:
        return None if at is None else at.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, at: datetime) -> datetime:
        return datetime.fromtimestamp(at.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


def machine_time(at: float, zone: str | None = None) -> datetime:
    """A moment (unix seconds) in the zone of a program that ran here, for `reset_time`. `zone`: the TZ it ran with."""
    return datetime.fromtimestamp(at, _zone((zone or "").removeprefix(":"), MachineZone()))
