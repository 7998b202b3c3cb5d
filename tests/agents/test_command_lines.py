"""What is put on each agent's command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatctl.activities.agents import AgentSpec, Prompted, command_line
from beatctl.activities.agents.claude_rules import rules
from beatctl.activities.agents.gemini import starts
from beatctl.activities.agents.shell_line import simple_commands
from beatctl.activities.agents.spec import AgentKind, Permissions

PROMPT_FILE = Path("/state/runs/1/agent.prompt.md")
LAST = Path("/state/runs/1/agent.last-message.txt")
KINDS: list[AgentKind] = ["claude", "codex", "gemini", "opencode"]
IN_ARGUMENTS: list[AgentKind] = ["claude", "codex", "gemini"]
"""Those that are given the prompt as an argument."""


def prompted(
    kind: AgentKind,
    prompt: str = "lower n",
    *,
    permissions: Permissions = "workspace",
    allowed: list[str] | None = None,
    model: str | None = None,
    root: Path | None = None,
    args: list[str] | None = None,
    session: str | None = None,
) -> Prompted:
    agent = AgentSpec(
        kind=kind,
        name=kind,
        argv=[f"/bin/{kind}"],
        permissions=permissions,
        allowed_commands=allowed or [],
        model=model,
        args=args or [],
    )
    return command_line(agent, prompt, PROMPT_FILE, last_message_file=LAST, root=root, session=session)


def test_claude_may_edit_and_run_the_evaluator_and_nothing_else() -> None:
    given_line = prompted("claude", allowed=["npm test", "node m.js | tail -1"])
    assert given_line.argv == [
        *("/bin/claude", "-p", "lower n", "--output-format", "stream-json", "--verbose"),
        *("--permission-mode", "acceptEdits"),
        *("--allowedTools", "Bash(npm test:*)", "Bash(node m.js | tail -1:*)", "Bash(node m.js)", "Bash(tail -1)"),
    ]
    assert (given_line.stdin, given_line.environment) == (None, {})


def test_codex_may_write_in_the_workspace_only() -> None:
    assert prompted("codex", allowed=["npm test"]).argv == [
        *("/bin/codex", "exec", "--json", "--skip-git-repo-check", "-o", str(LAST), "-s", "workspace-write"),
        *("--", "lower n"),
    ]


def test_gemini_may_edit_and_run_the_evaluator_and_nothing_else() -> None:
    argv = prompted("gemini", allowed=["npm test"]).argv
    assert argv[:8] == [
        "/bin/gemini",
        "-p",
        "lower n",
        "-o",
        "stream-json",
        "--skip-trust",
        "--approval-mode",
        "auto_edit",
    ]
    assert "--allowed-tools=run_shell_command(npm test)" in argv
    assert "--allowed-tools=run_shell_command" not in argv


def test_opencode_reads_the_prompt_as_it_is_and_may_run_the_evaluator_and_nothing_else() -> None:
    given_line = prompted("opencode", allowed=["npm test && du -b dist"])
    assert given_line.argv == [
        *("/bin/opencode", "run", "--format", "json", "--print-logs", "--log-level", "ERROR"),
    ]
    assert given_line.stdin == str(PROMPT_FILE)
    rules = json.loads(given_line.environment["OPENCODE_PERMISSION"])
    assert rules["edit"] == "allow"
    assert next(iter(rules["bash"].items())) == ("*", "deny")  # the last rule that matches counts
    assert {"npm test *", "du -b dist *"} <= set(rules["bash"])
    # A question that nobody answers would end the run.
    assert "ask" not in given_line.environment["OPENCODE_PERMISSION"]


def test_full_permissions_are_each_agents_own_bypass() -> None:
    assert "--dangerously-skip-permissions" in prompted("claude", permissions="full").argv
    assert "--dangerously-bypass-approvals-and-sandbox" in prompted("codex", permissions="full").argv
    assert "-s" not in prompted("codex", permissions="full").argv
    assert "yolo" in prompted("gemini", permissions="full").argv
    assert "--auto" in prompted("opencode", permissions="full").argv
    assert prompted("opencode", permissions="full").environment == {}


@pytest.mark.parametrize("kind", KINDS)
def test_workspace_permissions_never_bypass(kind: AgentKind) -> None:
    line = " ".join(prompted(kind, allowed=["npm test"]).argv)
    assert "dangerously" not in line
    assert "yolo" not in line
    assert "--auto" not in line


@pytest.mark.parametrize(
    ("kind", "flag"), [("claude", "--model"), ("codex", "-m"), ("gemini", "-m"), ("opencode", "-m")]
)
def test_the_model_is_passed_on(kind: AgentKind, flag: str) -> None:
    argv = prompted(kind, model="some-model").argv
    assert argv[argv.index(flag) + 1] == "some-model"
    assert flag not in prompted(kind).argv


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("claude", ("--resume", "s-1")),
        ("codex", ("resume", "s-1", "--")),
        ("gemini", ("-r", "s-1")),
        ("opencode", ("-s", "s-1")),
    ],
)
def test_the_agents_own_session_goes_on(kind: AgentKind, words: tuple[str, ...]) -> None:
    argv = prompted(kind, model="m", root=Path("/repository"), session="s-1").argv
    start = argv.index("s-1") - 1
    assert tuple(argv[start : start + len(words)]) == words
    assert words[0] not in prompted(kind, permissions="full").argv


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("session", [None, "s-1"])
def test_the_users_own_arguments_come_after_ours(kind: AgentKind, session: str | None) -> None:
    argv = prompted(kind, model="m", args=["--odd", "two words"], session=session).argv
    start = argv.index("--odd")
    assert argv[start + 1] == "two words"
    assert start > argv.index("m")
    if kind == "codex":
        assert argv[start + 2 :] == [*(["resume", "s-1"] if session else []), "--", "lower n"]


@pytest.mark.parametrize("kind", IN_ARGUMENTS)
def test_below_the_repositorys_top_all_of_it_may_be_edited(kind: AgentKind) -> None:
    assert any("/repository" in word for word in prompted(kind, root=Path("/repository")).argv)


@pytest.mark.parametrize("kind", IN_ARGUMENTS)
def test_a_goal_that_begins_with_a_dash_is_no_option(kind: AgentKind) -> None:
    argv = prompted(kind, "- lower n").argv
    assert "\n- lower n" in argv
    assert "- lower n" not in argv


@pytest.mark.parametrize("kind", IN_ARGUMENTS)
def test_a_prompt_no_argument_can_hold_goes_through_standard_input(kind: AgentKind) -> None:
    assert prompted(kind, "x" * 32768).stdin is None
    long = prompted(kind, "é" * 20_000)
    assert long.stdin == str(PROMPT_FILE)
    assert max(len(word) for word in long.argv) < 300
    assert any(str(PROMPT_FILE) in word and "\n" not in word for word in long.argv)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_no_argument_may_have_are_replaced(kind: AgentKind) -> None:
    odd = prompted(kind, "a\0b \ud800 c")
    assert all("\0" not in word and word.encode() for word in odd.argv)
    assert Prompted.model_validate_json(odd.model_dump_json()) == odd


def command(*argv: str, prompt: str = "lower n") -> Prompted:
    agent = AgentSpec(kind="command", name="agent.sh", argv=list(argv))
    return command_line(agent, prompt, PROMPT_FILE, last_message_file=LAST)


def test_a_command_gets_the_prompt_where_it_asks_for_it() -> None:
    assert command("./agent.sh", "--task={prompt}", "{prompt}").argv == ["./agent.sh", "--task=lower n", "lower n"]
    assert command("./agent.sh", "{prompt}").stdin is None
    assert command("./agent.sh", "-f", "{prompt_file}") == Prompted(argv=["./agent.sh", "-f", str(PROMPT_FILE)])


def test_a_command_that_asks_for_no_prompt_reads_it_from_standard_input() -> None:
    assert command("./agent.sh", "--fast") == Prompted(argv=["./agent.sh", "--fast"], stdin=str(PROMPT_FILE))


def test_a_command_has_no_session_to_go_on_with() -> None:
    agent = AgentSpec(kind="command", name="agent.sh", argv=["./agent.sh"], args=["--odd"])
    given_line = command_line(agent, "lower n", PROMPT_FILE, last_message_file=LAST, session="s-1")
    assert given_line.argv == ["./agent.sh"]


def test_words_in_the_prompt_are_never_replaced_or_split() -> None:
    prompt = "explain {prompt} and {prompt_file}; rm -rf $HOME `id` 'x\""
    assert command("./agent.sh", "{prompt}", prompt=prompt).argv == ["./agent.sh", prompt]


def test_a_command_is_told_the_file_of_a_long_prompt() -> None:
    argv = command("./agent.sh", "{prompt}", prompt="y" * 40_000).argv
    assert len(argv) == 2
    assert str(PROMPT_FILE) in argv[1]
    assert len(argv[1].splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("npm test", ["npm test"]),
        ("npm run build && du -b dist | cut -f1", ["npm run build", "du -b dist", "cut -f1"]),
        ("make 2>&1 | tail -1", ["make 2>&1", "tail -1"]),
        ("a &> log; b & c", ["a &> log", "b", "c"]),
        ("a || b\nc", ["a", "b", "c"]),
        ("python -c 'print(1 | 2); x' \"a;b\" c\\;d", ["python -c 'print(1 | 2); x' \"a;b\" c\\;d"]),
        ("(cd sub; make) | tail", ["(cd sub; make)", "tail"]),
        ("echo 'it'\\''s; fine'", ["echo 'it'\\''s; fine'"]),
        ("test $(wc -c < n | tail) -lt 5", ["test $(wc -c < n | tail) -lt 5"]),
        ("", []),
    ],
)
def test_a_shell_line_is_taken_apart_at_its_operators_only(line: str, pieces: list[str]) -> None:
    assert simple_commands(line) == pieces


@given(st.text(alphabet="ab |&;()'\"\\`$<>\n,"))
def test_no_shell_line_breaks_the_permission_rules(line: str) -> None:
    for piece in simple_commands(line):
        assert piece in line
    assert all(rule.startswith("Bash(") and rule.endswith(")") for rule in rules([line]))
    assert all("," not in start for start in starts([line]))


def test_claudes_rules_escape_what_would_end_them() -> None:
    assert rules(["python -c 'print(1, 2)'"]) == ["Bash(python -c 'print\\(1, 2\\)':*)"]
    assert rules(["grep a\\.b n"]) == ["Bash(grep a\\\\.b n:*)"]


def test_a_rule_that_claudes_option_would_cut_goes_in_as_settings() -> None:
    argv = prompted("claude", allowed=["node -e 'f(1)' x", "npm test"]).argv
    assert argv[-4:-2] == ["--allowedTools", "Bash(npm test:*)"]
    assert json.loads(argv[-1]) == {"permissions": {"allow": ["Bash(node -e 'f\\(1\\)' x:*)"]}}
    assert "--settings" not in prompted("claude", allowed=["npm test"]).argv
    assert "--allowedTools" not in prompted("claude").argv


def test_a_rule_of_gemini_ends_before_a_comma() -> None:
    assert "python -c" in starts(["python -c 'print(1, 2)'"])
    assert "npm run" in starts(["npm run a, b | tail"])
