"""What is known of a connection from one command to the next: its profile, and which key encrypts; never a secret.

A loop says on which server it is. How that one lets us in is kept here, since `status` or `pause` may be typed in a
shell that names no profile.
"""

from __future__ import annotations

from collections.abc import Mapping

from beatctl.worker import payload_key, profile
from beatctl.worker.connection import chosen
from beatctl.worker.payload_key import Key
from beatctl.worker.run_folder import EMBEDDED, RunFolder, read_json, write_json


def remember(folder: RunFolder, environ: Mapping[str, str], keys: list[Key]) -> None:
    """Keep what `environ` says of the connection."""
    # A shell that names the address alone does not make a profile forgotten.
    before = read_json(folder.connection).get("variables", {})
    variables = {**before, **profile.kept(environ), **payload_key.whole_paths(environ)}
    known = {"variables": variables, "key": keys[0].id if keys else None}
    if read_json(folder.connection) != known:
        write_json(folder.create().connection, known)


def check_key(folder: RunFolder, keys: list[Key]) -> None:
    """Whether what was encrypted on this connection so far would go on to be. Raises BadPayloadKey."""
    known = read_json(folder.connection).get("key")
    payload_key.check_against(keys, known, folder.label, folder.connection)


def recalled(folder: RunFolder, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` as it leads to this connection, whatever it names now. A profile that leads there too, and a key that
    is given, count before what is remembered."""
    found = dict(environ)
    if folder.label == EMBEDDED:
        for name in (profile.VARIABLE, "TEMPORAL_ADDRESS"):
            found.pop(name, None)
        return found
    kept = dict(read_json(folder.connection).get("variables", {}))
    if environ.get(payload_key.VARIABLE) or environ.get(payload_key.FILE_VARIABLE):
        kept.pop(payload_key.FILE_VARIABLE, None)
    if environ.get(profile.VARIABLE) and _leads_to(folder, environ):
        for name in (profile.VARIABLE, profile.FILE):
            kept.pop(name, None)
    else:
        found.pop(profile.VARIABLE, None)
    found |= kept
    address, _, namespace = folder.label.rpartition("/")
    return found | {"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": namespace}


def _leads_to(folder: RunFolder, environ: Mapping[str, str]) -> bool:
    try:
        found = chosen(environ)
    except profile.BadProfile:
        return False
    return found is not None and found.label == folder.label
