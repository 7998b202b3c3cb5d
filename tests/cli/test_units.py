"""Times and numbers as people type them: what is meant is understood, what is not is never guessed at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatctl.cli.units import BadValue, duration, in_words, number, whole


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("2d", 172800),
        (" 45S ", 45),
        ("1d2h3m4s5ms", 93784.005),
    ],
)
def test_a_time_with_its_unit_is_what_it_says(text: str, seconds: float) -> None:
    assert duration(text, "--for") == seconds
    assert duration(text, "--cooldown", bare_milliseconds=True) == seconds


def test_a_bare_cooldown_is_milliseconds() -> None:
    assert duration("1500", "--cooldown", bare_milliseconds=True) == 1.5
    assert duration("0.5", "--cooldown", bare_milliseconds=True) == 0.0005


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("8", "--for 8 needs a unit: 8s, 8m or 8h."),
        ("", "--for is empty."),
        ("-5s", '--for can\'t be negative: "-5s".'),
        ("2.9xyz", '--for does not understand "2.9xyz".'),
        ("5 m", '--for does not understand "5 m".'),
        ("30m1h", '--for does not understand "30m1h".'),
        ("1h1h", '--for does not understand "1h1h".'),
        ("h", '--for does not understand "h".'),
        ("nan", '--for does not understand "nan".'),
        ("inf", '--for does not understand "inf".'),
        ("٣s", '--for does not understand "٣s".'),
        ("1_000s", '--for does not understand "1_000s".'),
        ("9999999h", '--for "9999999h" is longer than ten years; 0 means no limit.'),
        ("1e400s", '--for does not understand "1e400s".'),
    ],
)
def test_a_time_that_is_none_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(BadValue) as refused:
        duration(text, "--for")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["2.9xyz", "1.5", "1e3", "ten", "", "1_000", "1,000", "٣", "0x10", "+5", "1" * 5000])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match=r"^--max-iterations"):
        whole(text, "--max-iterations")


def test_a_negative_count_is_told_apart() -> None:
    with pytest.raises(BadValue, match="can't be negative"):
        whole("-3", "--max-iterations")
    with pytest.raises(BadValue, match="at least 1"):
        whole("0", "--samples", least=1)
    assert whole("0", "--max-iterations") == 0
    assert whole("0012", "--max-iterations") == 12


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "12abc", "", "1_0", "0x1", "90%"])
def test_a_target_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match=r"^--target takes a number"):
        number(text, "--target")


@pytest.mark.parametrize(("text", "value"), [("90", 90.0), ("-0.5", -0.5), ("1e-6", 1e-6), ("+3", 3.0), (".5", 0.5)])
def test_a_target_may_be_any_number(text: str, value: float) -> None:
    assert number(text, "--target") == value


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (0.45, "450ms"),
        (0.0001, "1ms"),
        (2.5, "2.5s"),
        (45, "45s"),
        (161, "2m 41s"),
        (18720, "5h 12m"),
        (18000, "5h"),
        (273600, "3d 4h"),
        (86400, "1d"),
        (3605, "1h"),
    ],
)
def test_a_time_reads_as_people_say_it(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@given(st.text())
def test_no_text_at_all_makes_the_parsers_fail_in_another_way(text: str) -> None:
    for parse in (duration, whole, number):
        try:
            assert parse(text, "--flag") is not None
        except BadValue:
            continue


@given(st.integers(0, 300_000_000))
def test_whole_seconds_survive_in_every_unit(seconds: int) -> None:
    assert duration(f"{seconds}s", "--for") == seconds
    assert duration(f"{seconds}000ms", "--for") == seconds
