"""The search for words in a dump finds them: else that it finds none would mean nothing."""

from __future__ import annotations

import base64

import pytest

from tests.cluster.words import found_in


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_a_word_is_found_as_it_is_and_in_base64_as_text_and_as_bytes(before: str, after: str) -> None:
    text = f"{before}zebras{after}"
    encoded = base64.b64encode(text.encode()).decode()
    for shown in (text, encoded, f"\\\\x{text.encode().hex()}", f"\\x00{encoded.encode().hex()}"):
        assert found_in(f"insert 'y' {shown}\tother", ["zebras", "lions"]) == ["zebras"]
    assert found_in("\\\\x" + b"zebra".hex() + " ZEBRAS", ["zebras"]) == []
