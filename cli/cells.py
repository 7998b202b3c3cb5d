"""Text measured as a terminal shows it: in cells, of which an East Asian character or an emoji takes two."""

from __future__ import annotations


def cells(text: str) -> int:
    """How many cells `text` takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # here: most text never needs it

    return cell_len(text)


def cut(text: str, most: int) -> str:
    """`text`, with … where it takes more than `most` cells."""
    if cells(text) <= most:
        return text
    if text.isascii():
        return text[: max(0, most - 1)].rstrip() + "…"
    from rich.cells import set_cell_size

    return set_cell_size(text, max(0, most - 1)).rstrip() + "…"


def cut_left(text: str, most: int) -> str:
    """The end of `text`, with … before it where it takes more than `most` cells."""
    if cells(text) <= most:
        return text
    start = len(text)
    while start and cells(text[start - 1 :]) < most:
        start -= 1
    return "…" + text[start:]


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` in `width` cells, at the left or the right of them."""
    space = " " * max(0, width - cells(text))
    return space + text if right else text + space


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken between words; a word that is wider stays whole."""
    lines: list[str] = []
    for word in text.split():
        if lines and cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
