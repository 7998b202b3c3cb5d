"""Texts that tell when a limit ends, as the agents word them, and the moment each of them means."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatctl.activities.agents.reset_time import machine_time, reset_time

LISBON = ZoneInfo("Europe/Lisbon")
NOW = datetime(2026, 6, 29, 21, 8, 30, tzinfo=LISBON)  # a Monday, 20:08:30 UTC


def at(text: str) -> datetime:
    """`2026-06-29 22:00 Europe/Lisbon`; without a zone: UTC."""
    day, clock, *zone = text.split()
    return datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=ZoneInfo(zone[0]) if zone else UTC)


MOMENTS = {
    "Claude AI usage limit reached|1751230800": datetime.fromtimestamp(1751230800, UTC),
    "Claude AI usage limit reached|1751230800000": datetime.fromtimestamp(1751230800, UTC),
    '{"type":"usage_limit_reached","resets_at":1777936568,"resets_in_seconds":13872}': datetime.fromtimestamp(
        1777936568, UTC
    ),
    "x-ratelimit-reset: 1777936568": datetime.fromtimestamp(1777936568, UTC),
    "anthropic-ratelimit-requests-reset: 2026-06-29T21:30:00Z": at("2026-06-29 21:30"),
    "quota resets at 2026-06-30T00:00:00+02:00": at("2026-06-29 22:00"),
    "limit reached, resets 2026-06-30 07:00": at("2026-06-30 07:00 Europe/Lisbon"),
    "Retry-After: Mon, 29 Jun 2026 20:30:00 GMT": at("2026-06-29 20:30"),
    "retry-after: 20": NOW + timedelta(seconds=20),
    '"retry-after": "3600"': NOW + timedelta(hours=1),
    '"retryDelay": "20s"': NOW + timedelta(seconds=20),
    "retryDelay: '41.5s'": NOW + timedelta(seconds=41.5),
    "  retryDelayMs: 43391000,": NOW + timedelta(seconds=43391),
    "x-ratelimit-reset-tokens: 6m0s": NOW + timedelta(minutes=6),
    "resets_in_seconds: 90": NOW + timedelta(seconds=90),
    "or try again in 3 hours 2 minutes.": NOW + timedelta(hours=3, minutes=2),
    "or try again in 5 days 22 hours 11 minutes.": NOW + timedelta(days=5, hours=22, minutes=11),
    "Rate limit reached for gpt-5. Please try again in 1.898s. Visit": NOW + timedelta(seconds=1.898),
    "Please try again in 350ms.": NOW + timedelta(seconds=0.35),
    "Try again in 20s": NOW + timedelta(seconds=20),
    "Please retry in 12h3m20.5s.": NOW + timedelta(hours=12, minutes=3, seconds=20.5),
    "Your quota will reset after 21h24m36s.": NOW + timedelta(hours=21, minutes=24, seconds=36),
    "Suggested retry after 60s.": NOW + timedelta(seconds=60),
    "Weekly usage limit reached. It will reset in 3 days, 1 hour and 5 minutes. To": NOW
    + timedelta(days=3, hours=1, minutes=5),
    "You've hit your fast limit · resets in 2h 5m": NOW + timedelta(hours=2, minutes=5),
    "You've hit your session limit · resets 10pm (Europe/Lisbon)": at("2026-06-29 22:00 Europe/Lisbon"),
    "5-hour limit reached ∙ resets 9am": at("2026-06-30 09:00 Europe/Lisbon"),
    "You've hit your limit · resets 4:50am (Europe/Rome)": at("2026-06-30 04:50 Europe/Rome"),
    "You've hit your session limit · resets 10:10pm (Asia/Calcutta)": at("2026-06-30 22:10 Asia/Calcutta"),
    "You've hit your weekly limit · resets Jul 3, 2pm (America/New_York)": at("2026-07-03 14:00 America/New_York"),
    "Weekly limit reached ∙ resets Jul 3 at 2:30pm": at("2026-07-03 14:30 Europe/Lisbon"),
    "resets Jan 2, 2027, 2pm (UTC)": at("2027-01-02 14:00"),
    "resets Jul 3": at("2026-07-03 00:00 Europe/Lisbon"),
    "Your limit will reset at 1am (Etc/GMT+5).": at("2026-06-30 06:00"),
    "Your limit will reset at 3 PM.": at("2026-06-30 15:00 Europe/Lisbon"),
    "You’ve hit your usage limit. Upgrade to Pro or try again at 10:08 PM.": at("2026-06-29 22:08 Europe/Lisbon"),
    "You’ve hit your usage limit. Try again at Jul 1st, 2026 2:00 PM.": at("2026-07-01 14:00 Europe/Lisbon"),
    "try again at 10:08\u202fPM": at("2026-06-29 22:08 Europe/Lisbon"),
    "Try again at 12:05 AM.": at("2026-06-30 00:05 Europe/Lisbon"),
    "resets at 23:15": at("2026-06-29 23:15 Europe/Lisbon"),
    "resets Thursday 12:00 AM": at("2026-07-02 00:00 Europe/Lisbon"),
    "resets Mon 9:00pm": at("2026-06-29 21:00 Europe/Lisbon"),
    "resets Mon 8:00pm": at("2026-07-06 20:00 Europe/Lisbon"),
    "resets tomorrow at 11pm": at("2026-06-30 23:00 Europe/Lisbon"),
    "Daily quotas reset at midnight Pacific time": at("2026-06-30 00:00 America/Los_Angeles"),
    "resets 3:45 PM PST": at("2026-06-29 15:45 America/Los_Angeles"),
    "available again at 9pm UTC": at("2026-06-29 21:00"),
    "resets 10pm (CET)": at("2026-06-29 22:00 CET"),
    "resets 10pm (Mars/Olympus)": at("2026-06-29 22:00 Europe/Lisbon"),
}


@pytest.mark.parametrize("text", MOMENTS)
def test_a_loop_goes_on_when_the_limit_ends(text: str) -> None:
    found = reset_time(text, NOW)
    assert found is not None
    assert datetime.fromtimestamp(found, UTC) == MOMENTS[text].astimezone(UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Try again later.",
        "Please wait and try again later. To increase your limits, request a quota increase",
        "Retrying in 5s (attempt 1 of 3)",
        "try again 3 times",
        "reset the fixture in tests/test_10.py",
        "git reset --hard 1751230800ab",
        "resets at 27:99",
        "resets Foo 3, 2pm",
        "resets Feb 31, 2pm",
        "resets at 13pm",
        "retries: 20",
        "reset_at: null",
        "resets in a while",
        "quota resets at 2026-13-45T00:00:00Z",
        "Upgrade to Plus (https://chatgpt.com/explore/plus), or try again later.",
    ],
)
def test_no_time_is_made_up(text: str) -> None:
    assert reset_time(text, NOW) is None


@pytest.mark.parametrize(
    ("now", "text", "moment"),
    [
        # The clock is put forward on 29 March at 01:00 UTC: 02:30 in Berlin never comes, and the night has 23 hours.
        ("2026-03-28 22:00 Europe/Berlin", "resets 7am", "2026-03-29 05:00"),
        ("2026-03-28 22:00 Europe/Berlin", "resets 2:30am", "2026-03-29 01:30"),
        # It is put back on 25 October at 01:00 UTC: 02:30 comes twice.
        ("2026-10-24 22:00 Europe/Berlin", "resets 7am", "2026-10-25 06:00"),
        ("2026-10-24 22:00 Europe/Berlin", "resets 2:30am", "2026-10-25 00:30"),
        ("2026-10-25 00:50", "resets 2:30am (Europe/Berlin)", "2026-10-25 01:30"),
        # A date without a year, around the new year.
        ("2026-12-30 12:00", "resets Jan 2, 2pm", "2027-01-02 14:00"),
        ("2027-01-01 00:20", "resets Dec 31, 11pm", "2026-12-31 23:00"),
        ("2028-02-28 12:00", "resets Feb 29, 2pm", "2028-02-29 14:00"),
        # Said at 22:08:00, given up at 22:09:30; the same a quarter of an hour later means the next day.
        ("2026-06-29 22:09:30", "try again at 10:08 PM", "2026-06-29 22:08"),
        ("2026-06-29 22:24:30", "try again at 10:08 PM", "2026-06-30 22:08"),
    ],
)
def test_a_clock_that_is_changed_and_a_year_that_ends_move_nothing(now: str, text: str, moment: str) -> None:
    found = reset_time(text, at(now))
    assert found is not None
    assert datetime.fromtimestamp(found, UTC) == at(moment).astimezone(UTC)


def test_the_most_exact_word_counts_and_of_equals_the_last() -> None:
    assert reset_time("resets 10pm\nresets_at: 1777936568", NOW) == 1777936568
    assert reset_time("try again in 20s\nresets 10pm", NOW) == NOW.timestamp() + 20
    assert reset_time("try again in 20s\ntry again in 40s", NOW) == NOW.timestamp() + 40


def test_the_machines_own_zone_knows_when_its_clock_is_changed() -> None:
    program = (
        "from beatctl.activities.agents.reset_time import *\n"
        "from datetime import datetime, UTC\n"
        "evening = datetime(2026, 10, 24, 20, 0, tzinfo=UTC).timestamp()\n"
        "print(datetime.fromtimestamp(reset_time('resets 7am', machine_time(evening)), UTC))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"TZ": "Europe/Berlin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2026-10-25 06:00:00+00:00\n"
    assert machine_time(NOW.timestamp()) == NOW
    assert reset_time("resets 7am", machine_time(at("2026-10-24 22:00").timestamp(), ":Europe/Berlin")) == 1792908000


@given(st.text(alphabet=st.sampled_from("resttryaginp at in|:0123456789hmsd,.Oct()/UTCZ-\n\u202f\"'"), max_size=80))
def test_no_text_is_a_crash(text: str) -> None:
    for words in (text, f"resets {text}", f"try again in {text}", f"resets at 10pm ({text})"):
        found = reset_time(words, NOW)
        assert found is None or isinstance(found, float)
