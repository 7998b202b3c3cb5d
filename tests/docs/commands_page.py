"""Writes docs/commands.md from the help of every command: `make docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beatctl.cli.app import entry_of, every_command, made

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
_HEAD = """# Commands

What `beatctl COMMAND --help` says, for each command. This page is written by `make docs`; a test compares it with the
code. The common ones with their why: [README](../README.md), [The morning after](morning-after.md).
"""
_WIDTH = 100


def page() -> str:
    """The whole page, from the commands as they are now."""
    names = every_command()
    index = "\n".join(f"- [`{name}`](#{name.replace(' ', '-')}): {entry_of(name).summary}" for name in names)
    return "\n".join([_HEAD, index, *map(_section, names)])


def _section(name: str) -> str:
    command: Any = made(name)
    with command.context_class(
        command, info_name=f"beatctl {name}", max_content_width=_WIDTH, terminal_width=_WIDTH
    ) as context:
        text = command.get_help(context).strip()
    return f"\n## {name}\n```\n{text}\n```"


if __name__ == "__main__":
    PAGE.write_text(page() + "\n", encoding="utf-8")
