"""When a host counts as away, by what its server saw; and how that is said."""

from __future__ import annotations

import io
from datetime import datetime, timedelta

import pytest

from beatctl.activities.host_command import Answer, _packed
from beatctl.cli.elsewhere import away_words
from beatctl.worker.away import Away, Evidence, judged

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        # A worker asked a moment ago, and a minute ago: it waits for work.
        (Evidence(polls=[NOW - 1]), None),
        (Evidence(polls=[NOW - 60]), None),
        (Evidence(polls=[NOW - 71]), Away(NOW - 71)),
        # Of two workers one lives.
        (Evidence(polls=[NOW - 200, NOW - 5]), None),
        # Work waits that it would have been given; but not when it only came just now, or was there before it asked.
        (Evidence(polls=[NOW - 20], waits=[NOW - 10]), Away(NOW - 20)),
        (Evidence(polls=[NOW - 20], waits=[NOW - 2]), None),
        (Evidence(polls=[NOW - 1], waits=[NOW - 10]), None),
        # A retry that is to come is no work yet.
        (Evidence(polls=[NOW - 20], waits=[NOW + 30]), None),
        # Signs of life tell the time better than the last time it asked, and alone where that is forgotten.
        (Evidence(polls=[NOW - 200], seen=[NOW - 150, NOW - 180]), Away(NOW - 150)),
        (Evidence(seen=[NOW - 4000]), Away(NOW - 4000)),
        (Evidence(waits=[NOW - 4000]), Away(None)),
        (Evidence(), Away(None)),
    ],
)
def test_a_host_is_away_when_nobody_takes_what_is_there_for_it(evidence: Evidence, expected: Away | None) -> None:
    assert judged(evidence, NOW) == expected


def test_since_when_is_told_with_the_date_where_that_is_not_today() -> None:
    now = datetime(2027, 3, 4, 12, 0).astimezone()

    def words(ago: timedelta) -> str:
        return away_words("build-2", (now - ago).timestamp(), now)

    assert words(timedelta(hours=2, minutes=3)) == "no worker on build-2 since 09:57"
    assert words(timedelta(hours=13)) == "no worker on build-2 since 3 Mar 23:00"
    assert words(timedelta(days=100)).startswith("no worker on build-2 since 24 Nov 2026 ")
    assert away_words("build-2", None, now) == "no worker on build-2 so far"


def test_output_travels_whole_while_it_can_and_says_what_is_cut() -> None:
    text = b"".join(b"%d: kept\n" % number for number in range(100_000))
    packed, cut = _packed(io.BytesIO(text))
    assert (Answer(exit_code=0, stdout=packed).read()[0], cut) == (text, 0)
    noise = b"".join(hash(str(number)).to_bytes(9, "big", signed=True) for number in range(200_000))
    packed, cut = _packed(io.BytesIO(noise))
    there = Answer(exit_code=0, stdout=packed, cut=cut).read()[0]
    assert len(packed) < 1_000_000
    assert there == noise[: len(there)]
    assert cut == len(noise) - len(there) > 0
