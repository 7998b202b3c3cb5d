"""Taking a shell command line apart, for agents that allow the commands of a pipeline one by one."""

from __future__ import annotations


def simple_commands(line: str) -> list[str]:
    """The commands between `|`, `&&`, `||`, `;`, `&` and line ends, in order; quotes and parentheses are kept whole.

    `npm run build && du -b dist | cut -f1` gives three. No shell grammar: where one is needed (loops, here-documents),
    pieces come out that match nothing, and harm nothing.
    """
    pieces: list[str] = [""]
    quote = ""
    depth = 0
    position = 0
    while position < len(line):
        char = line[position]
        if char == "\\" and quote != "'":
            pieces[-1] += line[position : position + 2]
            position += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif depth == 0 and (char in "|;\n" or (char == "&" and not _redirects(line, position))):
            pieces.append("")
            position += 1
            continue
        pieces[-1] += char
        position += 1
    return [piece.strip() for piece in pieces if piece.strip()]


def _redirects(line: str, position: int) -> bool:
    """Whether the `&` at `position` is part of `2>&1`, `<&3` or `&>file`."""
    return line[position - 1 : position] in ("<", ">") or line[position + 1 : position + 2] == ">"
