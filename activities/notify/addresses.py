"""What may be told of an address that messages go to: it holds secrets. Pure; standard library only.

Shown is its scheme, and its host where that is no secret: `slack://…`, `json://ci.example.org:8080/…`.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from beatctl.activities.figures import number

NONE = "none"
"""In place of an address: no notifications."""
FROM_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
"""In place of an address: the variable that holds it."""
_HOSTS = {
    *("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"),
    *("gotify", "gotifys", "mqtt", "mqtts", "apprise", "apprises", "http", "https"),
}
"""Whose first part is a host; elsewhere it may be a token."""
_PARTS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,19})://(?P<rest>.*)", re.DOTALL)
_PLACE = re.compile(
    r"(?:[^/?#@:]*(?::[^/?#@]*)?@)?(?P<host>[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?)"
    r"(?P<path>[/?#][^@]*)?"
)
_SHORTEST = 4
_TAKE_FIELDS = {"json", "jsons", "form", "forms"}
_FIELDS = ("event", "loop", "state", "outcome", "reason", "iteration", "best", "baseline", "waiting_until")


def shown(url: str) -> str:
    """What may be told of an address. Pure."""
    parts = _PARTS.fullmatch(url.strip())
    if parts is None:
        return "…"
    scheme = parts["scheme"].lower()
    place = _PLACE.fullmatch(parts["rest"]) if scheme in _HOSTS else None
    if place is None:
        return f"{scheme}://…"
    return f"{scheme}://{place['host']}{'/…' if place['path'] else ''}"


def secrets_in(url: str) -> list[str]:
    """All that a service might quote of an address, the longest first, but for what is shown of it."""
    parts = _PARTS.fullmatch(url.strip())
    rest = parts["rest"] if parts else url
    known = shown(url)
    found = {url, rest}
    for text in (rest, urllib.parse.unquote(rest)):
        found |= {text, *re.split(r"[/:@?&=,;#\s]+", text)}
    return sorted(
        (text for text in found if len(text) >= _SHORTEST and text not in known), key=lambda text: (-len(text), text)
    )


def without_secrets(text: str, url: str) -> str:
    """What a service or a library says of an address, on one line, with `***` for all of it that is not shown."""
    for secret in secrets_in(url):
        text = text.replace(secret, "***")
    return " ".join(re.sub(r"\b([a-z]+)://\S*", r"\1://…", text).split())[:200]


def with_fields(url: str, fields: Mapping[str, Any]) -> str:
    """The address with the event's fields for a webhook, where its form has room for them: apprise puts what is named
    `:name` beside title and message."""
    if url.partition("://")[0].lower() not in _TAKE_FIELDS:
        return url
    told = {name: fields.get(name) for name in _FIELDS}
    for name in ("best", "baseline"):
        mark = told[name]
        told[name] = number(mark["score"]) if mark and mark["score"] is not None else None
    query = urllib.parse.urlencode({f":{name}": value for name, value in told.items() if value is not None})
    return f"{url}{'&' if '?' in url else '?'}{query}"
