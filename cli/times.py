"""Moments as people say them: `3m ago`, `yesterday 22:14`. Pure; local time."""

from __future__ import annotations

from datetime import datetime, timedelta

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def local(moment: str | float) -> datetime:
    """A ledger's timestamp, or unix seconds, in local time."""
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment).astimezone()
    return when.astimezone()


def clock(then: datetime, now: datetime) -> str:
    """A moment to come: `22:11`, `tomorrow 06:00`, `Thu 06:00`, `12 Dec 06:00`."""
    word = f"{then:%H:%M}"
    days = (then.date() - now.date()).days
    if days <= 0:
        return word
    if days == 1:
        return f"tomorrow {word}"
    return f"{_DAYS[then.weekday()]} {word}" if days < 7 else f"{then.day} {_MONTHS[then.month - 1]} {word}"


def moment(then: datetime, now: datetime) -> str:
    """A moment that has passed, to the minute: `03:12`, `20 Nov 03:12`, `20 Nov 2025 03:12`."""
    if then.date() == now.date():
        return f"{then:%H:%M}"
    return f"{then.day} {_MONTHS[then.month - 1]}{f' {then.year}' if then.year != now.year else ''} {then:%H:%M}"


def ago(then: datetime, now: datetime) -> str:
    """`just now`, `40s ago`, `3m ago`, `5h ago`, `today 07:14`, `yesterday 22:14`, `Mon 22:14`, `12 Nov`, …"""
    seconds = (now - then).total_seconds()
    if seconds < 5:
        return "just now"
    if seconds < 60:
        return f"{int(seconds)}s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)}m ago"
    if seconds < 6 * 3600:
        return f"{int(seconds // 3600)}h ago"
    return day(then, now)


def day(then: datetime, now: datetime) -> str:
    """`today 07:14`, `yesterday 22:14`, `Mon 22:14`, `12 Nov`, `12 Nov 2025`."""
    clock = f"{then:%H:%M}"
    if then.date() == now.date():
        return f"today {clock}"
    if then.date() == now.date() - timedelta(days=1):
        return f"yesterday {clock}"
    if timedelta(0) <= now.date() - then.date() < timedelta(days=7):
        return f"{_DAYS[then.weekday()]} {clock}"
    return f"{then.day} {_MONTHS[then.month - 1]}" + (f" {then.year}" if then.year != now.year else "")
