"""Payload encryption: what leaves is unreadable, comes back with the right key, and says what it lacks without it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from beatctl.worker import payload_key
from beatctl.worker.codec import Codec, with_codec
from beatctl.worker.data_converter import data_converter
from beatctl.worker.payload_key import FILE_VARIABLE, VARIABLE, BadPayloadKey, check_against


def new() -> str:
    return base64.b64encode(os.urandom(32)).decode()


FIRST, SECOND = new(), new()
CLEAR = Payload(metadata={"encoding": b"json/plain"}, data=b'"plentiful zebras"')


def codec(*words: str) -> Codec:
    return Codec(payload_key.keys({VARIABLE: " ".join(words)}))


async def test_what_is_sent_can_be_read_with_the_key_alone_and_differs_each_time() -> None:
    one, two = await codec(FIRST).encode([CLEAR, CLEAR])
    assert b"zebras" not in one.SerializeToString()
    assert one.data != two.data
    assert await codec(FIRST).decode([one, two]) == [CLEAR, CLEAR]


async def test_after_a_rotation_the_first_key_encrypts_and_the_old_one_still_reads() -> None:
    [old] = await codec(FIRST).encode([CLEAR])
    [new_] = await codec(SECOND, FIRST).encode([CLEAR])
    assert await codec(SECOND, FIRST).decode([old, new_]) == [CLEAR, CLEAR]
    with pytest.raises(BadPayloadKey):
        await codec(FIRST).decode([new_])


async def test_without_the_key_it_is_said_which_one_is_missing() -> None:
    [sent] = await codec(FIRST).encode([CLEAR])
    name = payload_key.keys({VARIABLE: FIRST})[0].id
    with pytest.raises(BadPayloadKey, match=f"encrypted with key '{name}', and there is no key here"):
        await codec().decode([sent])
    with pytest.raises(BadPayloadKey, match=f"encrypted with key '{name}', and the keys here are"):
        await codec(SECOND).decode([sent])


async def test_what_was_changed_on_the_way_is_not_taken() -> None:
    [sent] = await codec(FIRST).encode([CLEAR])
    changed = Payload(metadata=sent.metadata, data=sent.data[:-1] + bytes([sent.data[-1] ^ 1]))
    with pytest.raises(BadPayloadKey, match="was changed"):
        await codec(FIRST).decode([changed])


async def test_loops_from_before_encryption_can_still_be_read_and_without_a_key_nothing_changes() -> None:
    assert await codec(FIRST).decode([CLEAR]) == [CLEAR]
    assert await codec().encode([CLEAR]) == [CLEAR]


async def test_messages_and_stack_traces_of_failures_travel_encrypted_too() -> None:
    converter = with_codec(data_converter, payload_key.keys({VARIABLE: FIRST}))

    def fail() -> None:
        raise ApplicationError("plentiful zebras", "details of zebras")

    with pytest.raises(ApplicationError) as raised:
        fail()
    sent = Failure()
    await converter.encode_failure(raised.value, sent)
    assert b"zebras" not in sent.SerializeToString()
    assert b"test_codec" not in sent.SerializeToString()
    back = await converter.decode_failure(sent)
    assert "plentiful zebras" in str(back)


@pytest.mark.parametrize("text", ["", "# nothing\n", "short\n", base64.b64encode(b"x" * 16).decode(), "ä" * 44])
def test_a_file_without_a_right_key_is_refused_with_how_to_make_one(place: Path, text: str) -> None:
    file = place / "key"
    file.write_text(text)
    with pytest.raises(BadPayloadKey) as refused:
        payload_key.keys({FILE_VARIABLE: str(file)})
    assert str(file) in str(refused.value)
    assert payload_key.MAKE_ONE in str(refused.value)
    assert not text.strip("# \n") or text.strip() not in str(refused.value), "a key is told to nobody"


def test_a_file_holds_several_keys_with_comments_and_one_that_is_gone_is_said(place: Path) -> None:
    file = place / "keys"
    file.write_text(f"# since May\n{FIRST}\n\n# before\n{SECOND}\n")
    found = payload_key.keys({FILE_VARIABLE: str(file)})
    assert [key.secret for key in found] == [base64.b64decode(FIRST), base64.b64decode(SECOND)]
    assert FIRST not in repr(found)
    assert payload_key.keys({}) == []
    with pytest.raises(BadPayloadKey, match="can't be read"):
        payload_key.keys({FILE_VARIABLE: str(place / "gone")})


def test_a_command_without_the_connections_key_is_refused_before_it_sends_anything_in_the_clear(place: Path) -> None:
    old, new_ = payload_key.keys({VARIABLE: f"{FIRST} {SECOND}"})
    check_against([new_, old], old.id, "there", place)
    check_against([], None, "there", place)
    with pytest.raises(BadPayloadKey, match="no key is given"):
        check_against([], old.id, "there", place)
    with pytest.raises(BadPayloadKey, match=f"the key given is {new_.id}"):
        check_against([new_], old.id, "there", place)
