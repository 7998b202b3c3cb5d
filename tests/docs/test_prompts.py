"""docs/prompts.md shows the prompt that is sent, and the variables that templates have."""

from __future__ import annotations

import re

from beatctl.activities.prompt import EXAMPLE, check_template, compose
from beatctl.activities.prompt_template import VARIABLES
from tests.docs.commands_page import PAGE

TEXT = (PAGE.parent / "prompts.md").read_text(encoding="utf-8")


def test_the_prompt_in_the_documents_is_the_one_that_is_sent() -> None:
    shown = re.search(r"^````text\n(.*?)^````$", TEXT, re.DOTALL | re.MULTILINE)
    assert shown
    assert shown[1] == compose(*EXAMPLE)


def test_the_table_of_variables_is_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE)
    assert dict(rows[-len(VARIABLES) :]) == VARIABLES


def test_the_template_in_the_documents_works() -> None:
    example = re.search(r"^```jinja\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert example
    task, standing, rows, output, notes = EXAMPLE
    task = task.model_copy(update={"template": example[1]})
    check_template(task)
    sent = compose(task, standing, rows, output, notes)
    assert "Iteration 4. Beat 204880.\n" in sent
    assert "Not again: inlined the chart icons (206112)\n" in sent
    assert "date-fns" not in sent
