"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from beatctl.cli.app import SUBCOMMANDS, entry_of, every_command, made
from tests.docs.commands_page import PAGE, page

ROOT = PAGE.parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]


def test_the_page_of_commands_says_what_each_commands_help_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page() + "\n", "make docs writes it anew"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_in_the_documents_is_one_that_beatctl_understands(document: Path) -> None:
    """Each `beatctl WORD --flag` in code names a command there is, and flags it has."""
    text = document.read_text(encoding="utf-8")
    code = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE) + re.findall(r"`(beatctl [^`]+)`", text)
    found = 0
    for line in (line for block in code for line in block.splitlines()):
        for name, flags in _commands_in(line):
            known = _flags_of(name)
            assert not flags - known, f"{document.name}: {line.strip()}"
            found += 1
    assert found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_in_the_documents_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        other = (document.parent / place).resolve() if place else document
        assert other.exists(), f"{document.name}: {target}"
        if anchor:
            assert anchor in _anchors(other), f"{document.name}: {target}"


def _commands_in(line: str) -> list[tuple[str, set[str]]]:
    line = line.partition("  #")[0]
    found = []
    for words in re.findall(r"(?:^|[\s$])beatctl ([a-z][a-z-]*(?:\s[^|;&]*)?)", line):
        name, _, rest = words.partition(" ")
        last, _, after = rest.partition(" ")
        if last in SUBCOMMANDS.get(name, ()):
            name, rest = f"{name} {last}", after
        outside_quotes, dashes, of_start = re.sub(r"\"[^\"]*\"|'[^']*'", "", rest).partition(" -- ")
        if dashes:
            assert entry_of(name).takes_start, line
            found.append(("start", _flags_in(of_start)))
        found.append((name, _flags_in(outside_quotes)))
    return found


def _flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", text))


def _flags_of(name: str) -> set[str]:
    assert name in every_command(), f"There is no command {name}"
    return {"-h", "--help"} | {flag for param in made(name).params for flag in (*param.opts, *param.secondary_opts)}


def _anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_row_of_the_table_of_faults_names_a_test_there_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| what fails | what happens | shown by")
    rows = [line for line in table.partition("\n\n")[0].splitlines()[2:] if line.startswith("|")]
    assert len(rows) >= 14
    for row in rows:
        found = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", row.strip("|").split("|")[-1].strip())
        assert found, row
        source = (ROOT / "tests" / found[1]).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {found[2]}\(", source, re.MULTILINE), row


def test_the_page_on_mcp_has_every_tool_in_the_order_agents_see() -> None:
    from beatctl.cli.mcp.server import TOOLS

    text = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [tool.name for tool in TOOLS]
