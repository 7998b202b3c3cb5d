"""When a schedule starts its loops, from what was typed to what Temporal is told, and the sentence for each mistake.

Pure, but for the zones that the system knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel

from beatctl.cli import units
from beatctl.cli.problems import Usage

if TYPE_CHECKING:
    from temporalio.client import SchedulePolicy, ScheduleSpec, ScheduleState

Overlap = Literal["skip", "buffer-one", "buffer-all", "cancel-other", "terminate-other", "allow-all"]

OVERLAPS: dict[str, str] = {
    "skip": "while a loop of the schedule has not ended, nothing is started (one that is paused has not)",
    "buffer-one": "one more waits for the end of the loop that runs, and starts then",
    "buffer-all": "each waits for the end of the one before it",
    "cancel-other": "the loop that runs is ended first, as by beatctl cancel",
    "terminate-other": "the same, though Temporal forgets at once that it ran",
    "allow-all": "loops run side by side; in one folder that takes --worktree",
}
"""What happens when it is time and a loop of the schedule runs; the first is the default."""

CATCH_UP_S = 3600.0
_LEAST_CATCH_UP_S = 10.0
_LEAST_EVERY_S = 1.0
_NICKNAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_HELP = "schedule create"


class Timing(BaseModel):
    """When, and what then."""

    cron: list[str] = []
    every_s: float | None = None
    """Counted from 1970-01-01T00:00 UTC, so that 6h is 00:00, 06:00, … there."""
    offset_s: float = 0.0
    at: str | None = None
    """Once; ISO 8601 with the distance to UTC."""
    timezone: str = "UTC"
    overlap: Overlap = "skip"
    catch_up_s: float = CATCH_UP_S
    """How late a start may be that was missed while the server was away."""
    jitter_s: float = 0.0
    """Each start is late by up to this much, at random."""
    remaining: int | None = None
    """How many loops it starts in all."""
    until: str | None = None
    """The last moment of its life, as `at`."""

    def words(self) -> str:
        """`0 22 * * 1-5 (Europe/Lisbon)`, `every 6h`, `once`."""
        if self.at is not None:
            return "once"
        if self.every_s is not None:
            late = f" and {units.in_words(self.offset_s)}" if self.offset_s else ""
            return f"every {units.in_words(self.every_s)}{late}"
        return f"{', '.join(self.cron)} ({self.timezone})"


def choose(
    *,
    cron: Sequence[str],
    every: str | None,
    offset: str | None,
    at: str | None,
    timezone: str | None,
    overlap: str | None,
    catch_up: str | None,
    jitter: str | None,
    remaining: str | None,
    until: str | None,
    now: datetime,
) -> Timing:
    """Check what was typed of the times. Raises Usage."""
    kinds = [flag for flag, given in (("--cron", cron), ("--every", every), ("--at", at)) if given]
    if len(kinds) != 1:
        wrong = f"{' and '.join(kinds)} exclude each other." if kinds else "When shall it start its loops?"
        raise _usage(f'{wrong} Give one of --cron "0 22 * * 1-5", --every 6h and --at 2027-01-31T22:00.')
    if offset is not None and every is None:
        raise _usage("--offset goes with --every: 6h with an offset of 1h starts at 01:00, 07:00, … UTC.")
    if at is not None and (remaining is not None or until is not None):
        raise _usage(f"--at is once: leave {'--remaining' if remaining is not None else '--until-date'} out.")
    if overlap is not None and overlap not in OVERLAPS:
        raise _usage(f'--overlap takes {", ".join([*OVERLAPS][:-1])} or {[*OVERLAPS][-1]}, not "{overlap}".')
    zone, named = _zone(timezone)
    try:
        every_s = _duration(every, "--every", _LEAST_EVERY_S)
        offset_s = _duration(offset, "--offset", 0.0) or 0.0
        if every_s is not None and offset_s >= every_s:
            raise _usage(f"--offset {offset} has to be shorter than --every {every}.")
        return Timing(
            cron=[_cron(text) for text in cron],
            every_s=every_s,
            offset_s=offset_s,
            at=_moment(at, "--at", zone, named, now) if at is not None else None,
            timezone=named,
            overlap=overlap or "skip",
            catch_up_s=_duration(catch_up, "--catch-up", _LEAST_CATCH_UP_S) or CATCH_UP_S,
            jitter_s=_duration(jitter, "--jitter", 0.0) or 0.0,
            remaining=units.whole(remaining, "--remaining", least=1) if remaining is not None else None,
            until=_moment(until, "--until-date", zone, named, now, whole_day=True) if until is not None else None,
        )
    except units.BadValue as wrong_value:
        raise _usage(str(wrong_value)) from None


def _usage(text: str) -> Usage:
    return Usage(text, help_of=_HELP)


def _cron(text: str) -> str:
    """Five fields or a nickname; what is in the fields the server judges, whose rules they are."""
    words = text.split()
    if re.match(r"(CRON_)?TZ=", text.strip()):
        raise _usage(f"--cron {text!r}: the zone is a flag of its own: --timezone Europe/Lisbon")
    if len(words) == 1 and words[0].lower() in _NICKNAMES:
        return words[0].lower()
    if len(words) != 5:
        raise _usage(
            f'--cron takes five fields (minute, hour, day, month, weekday) such as "0 22 * * 1-5", or {_NICKNAMES[0]}, '
            f'{_NICKNAMES[1]}, {_NICKNAMES[3]}; "{text}" has {len(words)}.'
            + (" Every few seconds: --every 30s" if len(words) in (6, 7) else "")
        )
    return " ".join(words)


def _duration(text: str | None, flag: str, least: float) -> float | None:
    if text is None:
        return None
    seconds = units.duration(text, flag)
    if seconds < least:
        raise _usage(f"{flag} must be at least {units.in_words(least)}, not {text}.")
    return seconds


def machine_zone() -> str | None:
    """This machine's time zone as the world calls it; None where that can't be told."""
    import tzlocal

    try:
        name = tzlocal.get_localzone_name()
        return str(ZoneInfo(name).key) if name else None
    except (LookupError, ValueError, OSError):
        return None


def _zone(name: str | None) -> tuple[ZoneInfo, str]:
    """The zone that is meant, and its name; the machine's own where none was named."""
    if name is None:
        found = machine_zone()
        if found is None:
            raise _usage("This machine does not say which time zone it is in: --timezone Europe/Lisbon, or UTC")
        return ZoneInfo(found), found
    try:
        return ZoneInfo(name), name
    except (LookupError, ValueError, OSError):
        near = get_close_matches(name, sorted(available_timezones()), n=3, cutoff=0.6)
        such = f" Near it: {', '.join(near)}." if near else " Such as Europe/Lisbon, America/New_York, UTC."
        raise _usage(f'There is no time zone "{name}".{such}') from None


def _moment(text: str, flag: str, zone: ZoneInfo, named: str, now: datetime, *, whole_day: bool = False) -> str:
    """A moment to come. One that the clocks skip is refused; of one that comes twice the first is meant."""
    try:
        told = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _usage(f'{flag} takes a moment such as 2027-01-31T22:00, not "{text}".') from None
    only_day = re.fullmatch(r"\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d-?\d", text.strip()) is not None
    if only_day and whole_day:
        told = datetime.combine(told.date(), time(23, 59, 59))
    elif only_day:
        raise _usage(f"{flag} {text} lacks the time: {told:%Y-%m-%d}T22:00")
    if told.tzinfo is None:
        told = told.replace(tzinfo=zone)
        if told.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != told.replace(tzinfo=None):
            raise _usage(f"{flag} {text} does not exist in {named}: the clocks are put ahead past it.")
    if told <= now:
        raise _usage(f"{flag} {text} is over: it is {now.astimezone(zone):%Y-%m-%dT%H:%M} ({named}).")
    return told.isoformat(timespec="seconds")


def spec(timing: Timing) -> ScheduleSpec:
    """The times, as Temporal is told."""
    from temporalio.client import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

    calendars, intervals = [], []
    if timing.at is not None:
        at = datetime.fromisoformat(timing.at).astimezone(UTC)
        calendars = [
            ScheduleCalendarSpec(
                year=[ScheduleRange(at.year)],
                month=[ScheduleRange(at.month)],
                day_of_month=[ScheduleRange(at.day)],
                hour=[ScheduleRange(at.hour)],
                minute=[ScheduleRange(at.minute)],
                second=[ScheduleRange(at.second)],
            )
        ]
    if timing.every_s is not None:
        every, offset = timedelta(seconds=timing.every_s), timedelta(seconds=timing.offset_s)
        intervals = [ScheduleIntervalSpec(every=every, offset=offset)]
    return ScheduleSpec(
        calendars=calendars,
        intervals=intervals,
        cron_expressions=timing.cron,
        end_at=datetime.fromisoformat(timing.until).astimezone(UTC) if timing.until is not None else None,
        jitter=timedelta(seconds=timing.jitter_s) if timing.jitter_s else None,
        time_zone_name=timing.timezone if timing.cron else None,
    )


def policy(timing: Timing) -> SchedulePolicy:
    """What happens where loops would overlap and where times were missed, as Temporal is told."""
    from temporalio.client import ScheduleOverlapPolicy, SchedulePolicy

    overlap = ScheduleOverlapPolicy[timing.overlap.replace("-", "_").upper()]
    return SchedulePolicy(overlap=overlap, catchup_window=timedelta(seconds=timing.catch_up_s))


def state(timing: Timing, *, paused: bool) -> ScheduleState:
    """How it begins, as Temporal is told."""
    from temporalio.client import ScheduleState

    return ScheduleState(
        paused=paused, limited_actions=timing.remaining is not None, remaining_actions=timing.remaining or 0
    )
