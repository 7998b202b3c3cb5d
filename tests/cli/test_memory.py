"""What `start` refuses of a prompt template and of sessions, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.agents.definition import AgentDefinition
from beatctl.activities.agents.spec import AgentKind, AgentSpec
from beatctl.cli.memory import refuse_without_sessions, with_template
from beatctl.cli.problems import Usage
from beatctl.cli.start_options import Chosen, Typed, choose

TYPED = Typed(goal=("lower n",), eval="cat n", minimize=True)


def tried(template: bytes, place: Path) -> Chosen:
    path = place / "prompt.j2"
    path.write_bytes(template)
    typed = Typed(goal=TYPED.goal, eval=TYPED.eval, minimize=True, prompt_template=str(path))
    return with_template(choose(typed), typed)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (b"{{ goal }}\n{% if x %}", "prompt.j2:2: Unexpected end of template"),
        (b"{{ goal }}\n\n{{ gaol }}\n", "prompt.j2:3: there is no variable gaol. There are: goal, work, step,"),
        (b"{{ goal }}\n{{ last.score }}", "prompt.j2:2: 'None' has no attribute 'score'."),
        (b"  \n", "prompt.j2:1: it comes to nothing: the prompt would be empty."),
        (b"lower\n\xff\n", "prompt.j2:2: not UTF-8. Save the file in that encoding."),
        (b"x" * 200_000, "prompt.j2 is larger than 128 KiB: that is no prompt."),
    ],
)
def test_a_template_is_refused_with_file_line_and_what_is_wrong(template: bytes, words: str, place: Path) -> None:
    with pytest.raises(Usage) as refused:
        tried(template, place)
    assert words in refused.value.text


def test_a_templates_text_travels_with_the_loop(place: Path) -> None:
    assert tried("{{ default }}\nÄnd're n.\n".encode(), place).template == "{{ default }}\nÄnd're n.\n"


def agent(kind: AgentKind, **more: object) -> AgentSpec:
    return AgentSpec.model_validate({"kind": kind, "name": f"my-{kind}", "argv": ["x"], **more})


RESUMING = AgentDefinition.model_validate(
    {"command": ["x"], "resume": ["--resume", "{session}"], "output": {"session": "id"}}
)


@pytest.mark.parametrize(
    ("first", "fallback", "refused"),
    [
        (agent("claude"), None, None),
        (agent("claude"), agent("codex"), None),
        (agent("configured", definition=RESUMING), None, None),
        (agent("command"), None, "my-command (--agent)"),
        (agent("claude"), agent("command"), "my-command (--fallback)"),
        (agent("configured", definition=AgentDefinition(command=["x"])), None, "my-configured (--agent)"),
    ],
)
def test_sessions_are_refused_with_an_agent_that_has_none(
    first: AgentSpec, fallback: AgentSpec | None, refused: str | None
) -> None:
    chosen = choose(Typed(goal=TYPED.goal, eval=TYPED.eval, minimize=True, memory="session"))
    refuse_without_sessions(choose(TYPED), first, fallback)
    if refused is None:
        refuse_without_sessions(chosen, first, fallback)
        return
    with pytest.raises(Usage) as said:
        refuse_without_sessions(chosen, first, fallback)
    assert refused in said.value.text
