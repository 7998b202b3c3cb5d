"""What became of a loop's latest message at each of its targets: a file in the loop's folder, nothing of it secret.

Standard library only: the process that sends writes it, and `status` reads it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from beatctl.activities.home import LoopFolder

TRIES = 3
"""For each target, then it is given up."""
COMMAND = "the command"
"""How the user's command is named among the targets."""
_NAME = "notified.json"

Result = dict[str, Any]
"""`target` as it may be shown, `ok`, `tries`, `error`."""


class Record:
    """What became of the loop's latest message at each target, on disk."""

    def __init__(self, place: Path | None, message: str) -> None:
        self._path = place / _NAME if place is not None else None
        self._content: dict[str, Any] = {"id": message, "results": {}, "problems": []}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if self._path is not None:
                found = json.loads(self._path.read_bytes())
                same = found["id"] == message
                self._content["problems"] = list(found["problems"])
                self._content["results"] = dict(found["results"]) if same else {}

    def of(self, key: str, target: str) -> Result:
        result: Result = self._content["results"].setdefault(
            key, {"target": target, "ok": False, "tries": 0, "error": ""}
        )
        return result

    def note(self, key: str, result: Result) -> None:
        self._content["results"][key] = result
        self._write()

    def close(self, keys: list[str]) -> list[Result]:
        """The results; what is given up is from now on what `status` shows."""
        results = [self._content["results"][key] for key in keys]
        if all(_is_over(result) for result in results):
            self._content["problems"] = [problem(result) for result in results if not result["ok"]]
            self._write()
        return results

    def _write(self) -> None:
        if self._path is None:
            return
        draft = self._path.with_suffix(".part")
        with contextlib.suppress(OSError):  # a full disk is what the message may be about
            draft.write_text(json.dumps(self._content), encoding="utf-8")
            draft.replace(self._path)


def is_settled(folder: LoopFolder, message: str) -> bool:
    """Whether the loop's latest message is this one, and every target has taken it or was given up."""
    try:
        found: Any = json.loads((folder.root / _NAME).read_bytes())
        results = list(found["results"].values())
        return bool(found["id"] == message and results) and all(_is_over(result) for result in results)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_over(result: Result) -> bool:
    return bool(result["ok"] or result["tries"] >= TRIES)


def problem(result: Result) -> str:
    """A target that was given up, in words."""
    tries = f"{result['tries']} tr{'y' if result['tries'] == 1 else 'ies'}"
    why = f": {result['error']}" if result["error"] else ""
    told = f"{COMMAND} failed" if result["target"] == COMMAND else f"could not reach {result['target']}"
    return f"{told} ({tries}){why}"


def problems(folder: LoopFolder) -> list[str]:
    """Where the loop's latest message could not be sent to, in words without secrets; for `status`."""
    try:
        found: Any = json.loads((folder.root / _NAME).read_bytes())["problems"]
        return [str(text) for text in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []
