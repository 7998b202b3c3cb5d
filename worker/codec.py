"""Payload encryption on a shared Temporal server: AES-256-GCM, each payload by itself.

The codec is there without a key, too: what is encrypted then says so, instead of being an unknown encoding.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from beatctl.worker.payload_key import FILE_VARIABLE, VARIABLE, BadPayloadKey, Key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCODING = b"binary/encrypted"
_NONCE_BYTES = 12


class Codec(PayloadCodec):
    """Encrypts with the first of `keys`, decrypts with whichever it was. Raises BadPayloadKey."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._ciphers = _ciphers(keys) if keys else {}
        self._first = keys[0].id if keys else None

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads] if self._first else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            self._decrypted(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _encrypted(self, payload: Payload) -> Payload:
        assert self._first is not None
        nonce = os.urandom(_NONCE_BYTES)
        metadata = {"encoding": ENCODING, "encryption-key-id": self._first.encode()}
        sealed = self._ciphers[self._first].encrypt(nonce, payload.SerializeToString(), self._first.encode())
        return Payload(metadata=metadata, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        from cryptography.exceptions import InvalidTag

        name = payload.metadata.get("encryption-key-id", b"").decode("utf-8", "replace")
        cipher = self._ciphers.get(name)
        if cipher is None:
            have = f"the keys here are {', '.join(self._ciphers)}" if self._ciphers else "there is no key here"
            raise BadPayloadKey(
                f"What the server holds is encrypted with key {name!r}, and {have}: give it in {FILE_VARIABLE} or "
                f"{VARIABLE}."
            )
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, name.encode()))
        except (InvalidTag, ValueError) as problem:
            raise BadPayloadKey(f"What the server holds under key {name!r} was changed since it was sent.") from problem


def _ciphers(keys: Sequence[Key]) -> dict[str, AESGCM]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return {key.id: AESGCM(key.secret) for key in keys}


def with_codec(converter: DataConverter, keys: Sequence[Key]) -> DataConverter:
    """The converter with encryption; with keys, messages and stack traces of failures travel encrypted, too."""
    encoded = replace(converter, payload_codec=Codec(keys))
    if not keys:
        return encoded
    return replace(encoded, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
