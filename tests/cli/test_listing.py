"""`list`: everything fits, whatever the terminal; nothing that needs the user is overlooked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Mark, Status, timestamp
from beatctl.cli import listing, times
from beatctl.cli.cells import cells, cut, cut_left, pad, wrap
from beatctl.workflows.spec import Limits
from tests.support import Beatctl

NOW = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)


def loop(name: str, **more: Any) -> Status:
    given: dict[str, Any] = {
        "id": name,
        "goal": "lower n",
        "strategy": "optimize",
        "state": "finished",
        "directory": "/srv/shop",
        "limits": Limits().model_dump(),
        "ended_at": timestamp(NOW.timestamp() - 180),
        "elapsed_s": 4000.0,
    }
    return Status.model_validate({**given, **more})


LOOPS = [
    loop(
        "k3f9",
        state="running",
        goal="reduce bundle size of the dashboard module, and keep the tests green",
        iteration=212,
        best=Mark(iteration=187, score=171204),
        baseline=Mark(iteration=0, score=239107),
        cost_usd=14.2,
        directory="/home/ada/work/dashboard",
    ),
    loop("m222", state="paused", goal="修复登录页面的测试 🙂 并保持所有其他测试通过", strategy="retry"),
    loop("p7qa", outcome="failed"),
]


@pytest.mark.parametrize("columns", [60, 61, 79, 80, 99, 120, 160, 300])
def test_every_line_fits_and_columns_line_up(columns: int) -> None:
    lines = listing.lines(LOOPS, NOW, {"HOME": "/home/ada"}, columns=columns)
    assert all(cells(line) <= columns for line in lines)
    start = lines[0].index("GOAL")
    for line, words in zip(lines[1:], ("reduce bundle size", "修复登录", "lower n"), strict=True):
        assert cells(line[: line.index(words)]) == start
    for name in ("k3f9  running", "m222  paused", "p7qa  failed"):
        assert any(line.startswith(name) for line in lines)


def test_where_there_is_room_more_is_told() -> None:
    narrow = "\n".join(listing.lines(LOOPS, NOW, {"HOME": "/home/ada"}, columns=60))
    wide = "\n".join(listing.lines(LOOPS, NOW, {"HOME": "/home/ada"}, columns=160))
    for part in ("~/work/dashboard", "/srv/shop", "$14.20", "212/10", "for 1h 6m", "3m ago", "keep the tests green"):
        assert part in wide
    assert "171,204 -28.4%" in narrow
    assert "~/work" not in narrow


def test_what_has_not_ended_stands_out() -> None:
    lines = listing.lines(LOOPS, NOW, {}, colours=True, columns=80)
    assert "\x1b[1m" in lines[1]
    assert "\x1b[1;33mpaused" in lines[2]
    assert "\x1b[31mfailed" in lines[3]
    assert "\x1b[1" not in lines[3]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=-60), "just now"),
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=42), "42s ago"),
        (timedelta(minutes=3, seconds=50), "3m ago"),
        (timedelta(hours=5), "5h ago"),
        (timedelta(hours=8), "today 03:00"),
        (timedelta(hours=12, minutes=46), "yesterday 22:14"),
        (timedelta(hours=40), "Thu 19:00"),
        (timedelta(days=30), "22 Oct"),
        (timedelta(days=400), "17 Oct 2025"),
    ],
)
def test_times_are_told_as_people_tell_them(before: timedelta, words: str) -> None:
    assert times.ago(NOW - before, NOW) == words


def test_text_is_measured_as_the_terminal_shows_it() -> None:
    assert cells("登录 🙂") == 7
    for most in range(1, 12):
        for text in ("登录页面的测试", "a登b录c页d面", "plain words here"):
            assert cells(cut(text, most)) <= most
            assert cells(cut_left(text, most)) <= most
    assert cut("plain words", 8) == "plain w…"
    assert cut_left("/work/deep/shop", 10) == "…deep/shop"
    assert pad("登", 4) == "登  "
    assert wrap("one two three", 7) == ["one two", "three"]


def test_a_long_list_shows_the_newest_and_all_that_need_the_user(beatctl: Beatctl, place: Path) -> None:
    ledger = Ledger(beatctl.home / "ledger.db")
    for number in range(60):
        state = "paused" if number == 3 else "finished"
        reason = "edited" if number == 3 else "plateau"
        ledger.add_loop(loop(f"a{number}", state=state, reason=reason), "{}", number)
    done = beatctl("list", cwd=place, expect=0)
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == [*(f"a{number}" for number in range(59, 39, -1)), "a3"]
    assert done.stderr.splitlines() == [
        "… and 39 older that have ended: beatctl list --all",
        "a3 is paused (edited): beatctl status a3 says why, beatctl resume a3 goes on.",
    ]
    assert len(beatctl("list", "--all", cwd=place, expect=0).stdout.splitlines()) == 61
    assert len(json.loads(beatctl("list", "--json", cwd=place, expect=0).stdout)) == 60
