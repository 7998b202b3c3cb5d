"""The text of a new loop.toml or beatctl.toml: every key with a sentence, its default or an example. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from beatctl.cli.settings import KEYS


class Line(NamedTuple):
    """A key as it is explained. `value`: TOML, the default or (where there is none) an example."""

    key: str
    sentence: str
    value: str


_LOOP_HEAD = """\
# A loop. Start it with: beatctl start -f {name}
#
# Every key is a flag of `beatctl start`, and what is typed there wins. A line that begins with # is not in force: it
# shows the default, or an example where it says so. Times need a unit ("30s", "5m", "1h30m"); 0 means no limit.
"""
_SETTINGS_HEAD = """\
# How every loop {where} runs, unless a loop file, a variable (BEATCTL_AGENT, …) or a flag says otherwise.
#
# Every key is a flag of `beatctl start`. A line that begins with # is not in force: it shows the default, or an example
# where it says so. Times need a unit ("30s", "5m", "1h30m"); 0 means no limit.
"""

GROUPS: dict[str, Sequence[Line]] = {
    "The goal": (
        Line("goal", "What the agent should do. Example:", '"fix the failing test in auth.test.ts"'),
        Line(
            "steps", "A pipeline: each iteration runs these one after another, 2 to 20 of them. Example:", '["…", "…"]'
        ),
        Line("pipeline", "An iteration is the steps in their order; steps alone say so too.", "false"),
    ),
    "How success is told: until, or eval with a direction": (
        Line("until", "Repeat until this command passes. Example:", '"npm test"'),
        Line("eval", "Look for the best score: the last line this command prints. Example:", '"node measure.js"'),
        Line("direction", "With eval: whether a lower or a higher score is better. Example:", '"minimize"'),
        Line("minimize", 'The same as direction = "minimize".', "false"),
        Line("maximize", 'The same as direction = "maximize".', "false"),
        Line("check", "A command that must pass before an iteration is evaluated. Example:", '"npm run lint"'),
        Line("samples", "With until: passes in a row that are wanted. With eval: measurements of a candidate.", "1"),
        Line("on_fail", 'With until: what becomes of a failed try, "keep" or "revert".', '"keep"'),
        Line("target", "With eval: end when the best is this good. Example:", "90"),
        Line("plateau", "With eval: end after so many iterations without a better score.", "0"),
    ),
    "Limits": (
        Line(
            "max_iterations",
            "End after so many iterations. No limit by default where time, cost or tokens have one.",
            "10",
        ),
        Line("for", "Start nothing more after this time, waits included.", "0"),
        Line("max_cost", "Start no agent once so many US dollars are spent.", "0"),
        Line("max_tokens", 'Start no agent once so many tokens are used: "500k", "2M".', "0"),
        Line("max_failures", "End after so many failures in a row; a red test is none.", "3"),
        Line("max_unchanged", "Pause after so many iterations in a row that changed nothing.", "3"),
        Line("cooldown", "Wait between iterations; a bare number is milliseconds.", "0"),
        Line("agent_timeout", "Limit of one run of the agent.", '"30m"'),
        Line("eval_timeout", "Limit of one run of the evaluator or the check.", '"10m"'),
    ),
    "The agent": (
        Line(
            "agent",
            "claude, codex, gemini, opencode or a command; by default the first of them found. Example:",
            '"claude"',
        ),
        Line("model", "The agent's model; by default the agent's own. Example:", '"opus"'),
        Line("agent_args", "Further arguments of the agent's, split without a shell. Example:", '"--effort high"'),
        Line("fallback", "The agent that works while the other's limit lasts. Example:", '"codex"'),
        Line(
            "permissions",
            'What the agent may do: "workspace" (edit files, run evaluator and check; the default, unless the agent is '
            'set up otherwise) or "full". Example:',
            '"workspace"',
        ),
        Line(
            "memory",
            'What a prompt tells of the past: "ledger" (every try), "last" (the last one), "none"; "session": the '
            "agent's own session goes on.",
            '"ledger"',
        ),
        Line("memory_budget", "Tokens of a prompt that what it tells of the past may take.", '"4k"'),
        Line("prompt_template", "A file with your own prompt (Jinja2), seen from this file. Example:", '"prompt.j2"'),
    ),
    "Being told": (
        Line(
            "notify",
            "Where messages about the loop go: env:NAME for an address in a variable, or (not in a repository's "
            "beatctl.toml) the address itself, such as ntfy://my-topic. Example:",
            '["env:SLACK_URL"]',
        ),
        Line(
            "notify_on",
            "What is told: finish (any end), failure, pause, waiting (for a limit's reset), best.",
            '"finish,failure,pause,waiting"',
        ),
        Line(
            "notify_command",
            "A command that is told, too: JSON on its standard input. Example:",
            '"jq -r .title | wall"',
        ),
    ),
    "The place": (
        Line("directory", "Work in this folder, seen from this file; by default where you stand. Example:", '"."'),
        Line("on", "Work on this host of a shared Temporal server, where directory is. Example:", '"build-2"'),
        Line(
            "repo",
            "Work in a clone of this repository, and push the result there. Example:",
            '"git@example.com:shop.git"',
        ),
        Line("ref", "With repo: the branch, tag or commit to begin with. Example:", '"main"'),
        Line("worktree", "Work in a git worktree of its own, made from the last commit.", "false"),
        Line("setup", "With worktree: a command that makes it ready. Example:", '"npm ci"'),
        Line("setup_timeout", "Limit of the setup command; by default the evaluator's. Example:", '"10m"'),
        Line("branch", "The worktree's branch, or the one apply makes. Example:", '"smaller-bundle"'),
        Line("allow_large", "Take huge untracked content into snapshots.", "false"),
        Line("detach", "Return at once.", "false"),
        Line("foreground", "End the loop with the command that started it.", "false"),
        Line("dry_run", "Only measure, and show the prompt and the limits; start nothing.", "false"),
    ),
}


def loop_file(name: str, flags: Mapping[str, str], values: Mapping[str, str]) -> str:
    """A loop file's text. `flags`: what each flag's help says, for keys without a sentence here; `values`: what is
    known already, by key, and therefore in force."""
    return _text(_LOOP_HEAD.format(name=name), list(KEYS), flags, values)


def settings_file(where: str, flags: Mapping[str, str], *, repository: bool) -> str:
    """The text of a file of settings that hold for many loops. `where`: `in this repository`."""
    names = [name for name, key in KEYS.items() if (key.in_repository if repository else key.everywhere)]
    return _text(_SETTINGS_HEAD.format(where=where), names, flags, {})


def _text(head: str, names: Sequence[str], flags: Mapping[str, str], values: Mapping[str, str]) -> str:
    explained = {line.key for lines in GROUPS.values() for line in lines}
    groups = {title: [line for line in lines if line.key in names] for title, lines in GROUPS.items()}
    groups["More"] = [Line(name, flags[name], _example(name)) for name in names if name not in explained]
    text = head
    for title, lines in groups.items():
        if lines:
            text += f"\n\n# == {title} ==\n"
        for line in lines:
            told = f"{line.key} = {json.dumps(values[line.key], ensure_ascii=False)}" if line.key in values else None
            text += f"\n# {line.sentence}\n{told or f'# {line.key} = {line.value}'}\n"
    return text


def _example(name: str) -> str:
    return {"switch": "false", "number": "0", "list": '["…"]', "text": '"…"'}[KEYS[name].kind]
