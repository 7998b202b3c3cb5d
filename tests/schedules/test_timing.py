"""What is typed of the times, and the sentence for each mistake: told before anything starts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from beatctl.cli.problems import Usage
from beatctl.cli.schedule.timing import Timing, choose
from tests.loops.conftest import Repository
from tests.support import Beatctl

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def chosen(**typed: Any) -> Timing:
    names = ("every", "offset", "at", "timezone", "overlap", "catch_up", "jitter", "remaining", "until")
    return choose(**{"cron": [], "now": NOW, **dict.fromkeys(names), "timezone": "UTC", **typed})


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, "When shall it start its loops?"),
        ({"cron": ["0 22 * * *"], "every": "6h"}, "--cron and --every exclude each other."),
        ({"cron": ["0 22 * *"]}, 'such as "0 22 * * 1-5"'),
        ({"cron": ["*/5 * * * * *"]}, "Every few seconds: --every 30s"),
        ({"cron": ["CRON_TZ=Asia/Tokyo 0 22 * * *"]}, "--timezone"),
        ({"cron": ["0 22 * * *"], "timezone": "Europe/Lisboa"}, "Near it: Europe/Lisbon"),
        ({"every": "6"}, "--every 6 needs a unit"),
        ({"every": "500ms"}, "--every must be at least 1s"),
        ({"every": "6h", "offset": "7h"}, "--offset 7h has to be shorter than --every 6h"),
        ({"cron": ["0 22 * * *"], "offset": "1h"}, "--offset goes with --every"),
        ({"at": "tomorrow"}, "--at takes a moment such as 2027-01-31T22:00"),
        ({"at": "2027-12-24"}, "lacks the time: 2027-12-24T22:00"),
        ({"at": "2027-02-28T22:00"}, "--at 2027-02-28T22:00 is over"),
        ({"at": "2027-03-28T01:30", "timezone": "Europe/Lisbon"}, "does not exist in Europe/Lisbon"),
        ({"at": "2027-12-24T22:00", "remaining": "2"}, "--at is once: leave --remaining out"),
        ({"every": "6h", "overlap": "queue"}, "--overlap takes skip, buffer-one, buffer-all"),
        ({"every": "6h", "catch_up": "1s"}, "--catch-up must be at least 10s"),
        ({"every": "6h", "remaining": "0"}, "--remaining must be at least 1"),
        ({"every": "6h", "until": "2027-02-01"}, "--until-date 2027-02-01 is over"),
    ],
)
def test_a_mistake_in_the_times_is_told_with_what_is_right(typed: dict[str, Any], words: str) -> None:
    with pytest.raises(Usage) as wrong:
        chosen(**typed)
    assert words in wrong.value.text


def test_a_moment_is_the_one_of_its_zone_and_of_one_that_comes_twice_the_first() -> None:
    assert chosen(at="2027-07-01T22:00", timezone="Europe/Lisbon").at == "2027-07-01T22:00:00+01:00"
    assert chosen(at="2027-10-31T01:30", timezone="Europe/Lisbon").at == "2027-10-31T01:30:00+01:00"
    assert chosen(at="2027-07-01T22:00:00Z", timezone="Europe/Lisbon").at == "2027-07-01T22:00:00+00:00"
    assert chosen(every="6h", until="2027-07-01", timezone="Europe/Lisbon").until == "2027-07-01T23:59:59+01:00"


GOOD = ("--", "write ok", "--until", "true", "-a", "sh -c true")


@pytest.mark.parametrize(
    ("words", "said", "exit_code"),
    [
        (("nightly", "--cron", "0 22 * * *"), "What shall it start?", 2),
        (("nightly", "--cron", "0 22 * * *", "--until", "true"), "What start takes stands after --", 2),
        (("Nightly", "--every", "6h", *GOOD), "small letters", 2),
        (("nightly", *GOOD), "When shall it start its loops?", 2),
        (("nightly", "--every", "6h", "--", "write ok"), "How is success told?", 2),
        (("nightly", "--every", "6h", "--", "write ok", "--until", "true", "--max-iteration", "3"), "no flag", 2),
        (("nightly", "--every", "6h", *GOOD, "--foreground"), "leave --foreground out", 2),
        (("nightly", "--every", "6h", *GOOD, "--worktree", "--branch", "b"), "--branch b can be made once", 2),
        (("nightly", "--every", "6h", *GOOD, "--notify", "ntfy://tok-1"), "stand in the Temporal server's history", 2),
        (("nightly", "--every", "6h", "--on", "build-2", *GOOD, "-C", "/"), "Name it: --profile NAME", 2),
        (("nightly", "--every", "6h", "--", "x", "--until", "true", "-a", "no-such-agent"), "is not on PATH", 3),
    ],
)
def test_what_could_not_start_is_refused_when_the_schedule_is_made(
    beatctl: Beatctl, repository: Repository, words: tuple[str, ...], said: str, exit_code: int
) -> None:
    done = beatctl("schedule", "create", *words, cwd=repository.folder, expect=exit_code)
    assert said in done.stderr
    assert done.stdout == ""
    assert not (beatctl.home / "run").exists(), "a server was started"
