"""Ids of traces and spans, made from what they are about: what is told again after a crash is the same trace, and an
iteration can link to its loop's span long before that has ended. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from beatctl.activities.records import Status


class Ids(NamedTuple):
    """Of a span."""

    trace: int
    """128 bits."""
    span: int
    """64 bits."""


def loop_ids(status: Status) -> Ids:
    """Of a loop's span."""
    return Ids(_number(16, *_loop(status)), _number(8, *_loop(status), "loop"))


def iteration_ids(status: Status, iteration: int, part: str = "iteration") -> Ids:
    """Of an iteration's span, or of one `part` of it."""
    return Ids(_number(16, *_loop(status), str(iteration)), _number(8, *_loop(status), str(iteration), part))


def end_ids(status: Status) -> Ids:
    """Of the span for a further end of a loop that went on after it had ended."""
    return Ids(loop_ids(status).trace, _number(8, *_loop(status), f"end {status.ended_at}"))


def _loop(status: Status) -> tuple[str, str]:
    # Ids of loops are short: another host may have given the same one. Whole seconds, since a status that went through
    # the ledger and back may be a millisecond off.
    return status.id, (status.started_at or "")[:19]


def _number(size: int, *parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:size], "big") or 1
