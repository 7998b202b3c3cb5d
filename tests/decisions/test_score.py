"""What counts as a score, and what never does."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatctl.activities.score import last_line, read_score, shown


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("171204\n", 171204),
        ("building…\n0.42\n\n  \n", 0.42),
        ("-3.5e-2", -0.035),
        ("+.5", 0.5),
        ("7.", 7),
        ("\r\n12\r\n", 12),
        ('{"score": 3, "metrics": {"kb": 1.5, "name": "x"}}', 3),
    ],
)
def test_the_number_printed_last_is_the_score(printed: str, value: float) -> None:
    assert read_score(printed, None).value == value


@pytest.mark.parametrize(
    "printed",
    [
        *(
            "",
            "  \n\n",
            "12abc",
            "nan",
            "NaN",
            "inf",
            "-Infinity",
            "1e999",
            "1_000",
            "0x10",
            "Done in 3.2s",
            "1 2",
            "٣",
        ),
        *(
            '{"score": NaN}',
            '{"score": true}',
            '{"score": "3"}',
            '{"score": 1e999}',
            '{"kb": 3}',
            '{"score": null}',
            "{",
        ),
        *('{"score": ' + "9" * 400 + "}", "[" * 100_000, "{" + '"a":{' * 10_000),
    ],
)
def test_nothing_else_is_taken_for_a_score(printed: str) -> None:
    score = read_score(printed, None)
    assert score.value is None
    assert score.problem


def test_the_problem_quotes_the_line_so_that_it_can_be_mended() -> None:
    assert read_score("ok\n12abc\n", None).problem == 'Its last line was "12abc"'


def test_the_score_file_wins_over_what_was_printed() -> None:
    assert read_score("1\n", "2\n").value == 2
    assert read_score("1\n", "x").value is None
    assert read_score("1\n", " \n").value == 1


def test_metrics_are_kept_beside_the_score() -> None:
    assert read_score('{"score": 3, "metrics": {"kb": 1.5, "bad": "x", "n": NaN}}', None).metrics == {"kb": 1.5}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_comes_back_as_it_was_printed(value: float) -> None:
    assert read_score(f"noise\n{value!r}\n", None).value == value
    assert read_score(json.dumps({"score": value}), None).value == value


@given(st.text())
def test_no_output_can_break_the_reading_or_yield_a_number_that_is_not_finite(text: str) -> None:
    score = read_score(text, None)
    assert (score.value is None) == (score.problem is not None)
    assert score.value is None or math.isfinite(score.value)
    assert len(shown(last_line(text))) <= 200
