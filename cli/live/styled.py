"""Lines of styled text, measured in the cells of a terminal. The one place that knows Rich."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.color import ColorSystem
from rich.console import Console
from rich.text import Text

from beatctl.cli.cells import wrap
from beatctl.cli.output import visible

__all__ = ["Text", "ansi", "cut", "fields", "plain", "wrapped"]

_VARIANTS = {ord("\N{VARIATION SELECTOR-15}"): None, ord("\N{VARIATION SELECTOR-16}"): None}
_NOWHERE = Console(file=io.StringIO(), force_terminal=True, legacy_windows=False)


def plain(text: str) -> str:
    """`text` on one line, without what moves the cursor, and without what terminals don't agree on the width of."""
    return visible(text).translate(_VARIANTS)


def cut(line: Text, columns: int) -> Text:
    """The line, with … where it is wider than `columns` cells."""
    if line.cell_len > columns:
        line = line.copy()
        line.truncate(columns, overflow="ellipsis")
        line.rstrip()
    return line


def fields(label: str, parts: Sequence[Text | str], columns: int) -> Text:
    """` best  171,204 #187   kept 12 of 212`: as many parts as fit, with gaps as wide as fit."""
    texts = [part if isinstance(part, Text) else Text(part) for part in parts if part]
    for gap in ("    ", "   ", "  "):
        line = _joined(label, texts, gap)
        if line.cell_len <= columns:
            return line
    while len(texts) > 1 and _joined(label, texts, "  ").cell_len > columns:
        texts.pop()
    return cut(_joined(label, texts, "  "), columns)


def _joined(label: str, texts: Sequence[Text], gap: str) -> Text:
    return Text.assemble((f" {label:<5} ", "dim"), Text(gap).join(texts))


def wrapped(label: str, text: str, style: str, columns: int, most: int) -> list[Text]:
    """A sentence under a label, on at most `most` lines."""
    lines = wrap(text, max(8, columns - 8)) or [""]
    if len(lines) > most:
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return [
        cut(Text.assemble((f" {label if not position else '':<5} ", "dim"), (line, style)), columns)
        for position, line in enumerate(lines)
    ]


def ansi(line: Text, *, colours: bool) -> str:
    """The line as it is written to a terminal: the 16 colours every palette has, light or dark."""
    if not colours:
        return line.plain
    system = ColorSystem.STANDARD
    line = line.copy()
    line.stylize_before(line.style)  # the style of the whole line, which else the console would add
    pieces = line.render(_NOWHERE, end="")
    return "".join(
        piece.style.render(piece.text, color_system=system) if piece.style else piece.text for piece in pieces
    )
