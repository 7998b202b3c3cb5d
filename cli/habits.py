"""What people type who come from backbeat or autobeat: understood where beatctl has the same thing, else a hint. Pure.

None of it shows in `--help`. A command or flag that beatctl has itself always means beatctl's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from beatctl.cli.problems import Usage

_COMMANDS = {"loop": "start", "ls": "list"}
_AFTER_LOOP = ("list", "status", "cancel", "pause", "resume")
"""`loop status k3f9` is `status k3f9`."""

_COMMAND_HINTS = {
    "run": 'beatctl runs loops, not single tasks: beatctl start "fix the failing test" --until "npm test"',
    "delegate": 'beatctl runs loops, not single tasks: beatctl start "fix the failing test" --until "npm test"',
    "retry": "There are no single tasks to try again. A paused loop goes on with: beatctl resume",
    "pipeline": 'A pipeline is a loop with steps: beatctl start --step "…" --step "…" --until "npm test"',
    "orchestrate": 'There is no orchestrating agent. Say how success is told: beatctl start "…" --until "npm test"',
    "config": "Settings stand in beatctl.toml or config.toml; beatctl doctor shows which hold, and where they stand.",
    "mcp": "There is no MCP server yet.",
    "migrate": "There is nothing to migrate: beatctl's loops are its own.",
    "dashboard": "All loops in a table that updates: beatctl watch --all",
    "dash": "All loops in a table that updates: beatctl watch --all",
}

_FLAGS = {
    "-w": "-C",
    "--working-directory": "-C",
    "--git-branch": "--branch",
    "--eval-direction": "--direction",
    "--max-consecutive-failures": "--max-failures",
}
_SWITCHES = {("start", "--checkpoint"): ("--memory", "last")}
_ONCE = {"start": ("--until", "--eval", "--check", "--setup")}
"""Of other flags the last one holds, as everywhere; of two commands that are both wanted that would drop one."""
_NEEDLESS = {("cancel", "--cancel-tasks"): "cancel always ends what runs: --cancel-tasks is not needed."}

_BY_COMMAND = 'An evaluator is a command: --until "npm test", or --eval "./score" with --minimize or --maximize.'
_TWO_KINDS = "The evaluator tells the kind of loop: --until repeats until it passes, --eval looks for the best score."
_NO_TASKS = "Each loop begins at once, and one folder has one loop at a time."
_OWN_WORDS = "Put that into the goal, or into the file your agent reads by itself (CLAUDE.md, AGENTS.md, GEMINI.md)."
_LATER = 'A loop that starts later: beatctl schedule create --at 2027-01-31T22:00 -- "the goal" --until "npm test"'
_OF_START = 'What start takes stands after --: … --cron "0 22 * * *" -- "the goal" --until "npm test"'
_LIST = "beatctl list shows every loop with its state; for scripts: beatctl list --json"
_SHOW = "Every iteration of a loop: beatctl show"
_AGENT = 'Write agent = "codex" into a loop file or into config.toml (beatctl doctor says where that is).'

_FLAG_HINTS = {
    "start": {
        **dict.fromkeys(
            ("--eval-mode", "--eval-type", "--eval-prompt", "--judge-agent", "--judge-prompt"), _BY_COMMAND
        ),
        "--judge": _BY_COMMAND,
        "--strategy": _TWO_KINDS,
        "--system-prompt": _OWN_WORDS,
        **dict.fromkeys(("-p", "--priority", "--deps", "--depends-on"), _NO_TASKS),
        **dict.fromkeys(("-t", "--timeout"), "One run of the agent: --agent-timeout 30m. The whole loop: --for 8h."),
        **dict.fromkeys(("-b", "--buffer", "--max-output-buffer"), "Output is kept whole, in files: beatctl logs"),
        **dict.fromkeys(("--cron", "--every", "--at", "--timezone", "--delay"), _LATER),
    },
    "schedule create": {
        **dict.fromkeys(
            ("--until", "--eval", "--minimize", "--maximize", "--step", "--check", "--worktree"), _OF_START
        ),
        **dict.fromkeys(("-a", "--agent", "-m", "--model", "-n", "--max-iterations", "--for", "-f", "-C"), _OF_START),
    },
    "list": dict.fromkeys(("--status", "--limit"), _LIST),
    "status": dict.fromkeys(("--history", "--history-limit"), _SHOW),
    "pause": {"--force": "pause lets the iteration end. What runs is ended now by: beatctl cancel"},
    "resume": {"--context": 'Tell the agent with beatctl note "…", then: beatctl resume'},
    "logs": {"--tail": "beatctl logs | tail -n 100"},
    "init": dict.fromkeys(("-a", "--agent", "-y", "--yes"), _AGENT),
}


def command(words: Sequence[str], known: Collection[str]) -> list[str]:
    """The command line with a command of beatctl's at its head. `known`: beatctl's commands. Raises Usage (a hint)."""
    if not words or words[0] in known:
        return list(words)
    first, rest = words[0], list(words[1:])
    if first == "help":
        return [*rest[:1], "--help"]
    if first == "loop" and rest and rest[0] in _AFTER_LOOP:
        return rest
    if first in _COMMAND_HINTS:
        raise Usage(f"beatctl {first}: {_COMMAND_HINTS[first]}")
    return [_COMMANDS.get(first, first), *rest]


def profile(words: Sequence[str], known: Mapping[str, bool]) -> tuple[list[str], str | None]:
    """The words without `--profile NAME`, and the name; None where there is none. `known`: as for `flags`. Raises
    Usage."""
    left, name = list(words), None
    found: list[str] = []
    while left:
        word = left.pop(0)
        if word == "--":
            return [*found, word, *left], name
        flag, equals, value = word.partition("=")
        if flag == "--profile" and flag not in known:
            name = value if equals else left.pop(0) if left else ""
            if not name or name.startswith("-"):
                raise Usage("--profile needs a profile's name: beatctl --profile prod list")
            continue
        found.append(word)
        if known.get(flag) and not equals and left:
            found.append(left.pop(0))  # a value, whatever it looks like
    return found, name


def subcommand(words: Sequence[str], known: Collection[str]) -> list[str]:
    """A group's words with a command of its own at their head: its `list` where none was typed."""
    if not words:
        return ["list"]
    first, *rest = words
    return [first if first in known else {"ls": "list", "unpause": "resume", "rm": "delete"}.get(first, first), *rest]


def flags(name: str, words: Sequence[str], known: Mapping[str, bool]) -> tuple[list[str], list[str]]:
    """A command's words with flags of beatctl's own, and what to tell on the way.

    `known`: every flag of the command `name`, and whether a value follows it. Raises Usage (a hint).
    """
    found: list[str] = []
    said: list[str] = []
    seen: set[str] = set()
    hints = _FLAG_HINTS.get(name, {})
    left = list(words)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        if word == "--":
            return [*found, word, *left], said
        if flag in known or _FLAGS.get(flag) in known:
            own = flag if flag in known else _FLAGS[flag]
            # A value is taken over unread: it may look like a flag.
            follows = [] if equals or not known[own] else left[:1]
            del left[: len(follows)]
            found += [word] if own == flag else [own, *([value] if equals else [])]
            found += follows
            if own in _ONCE.get(name, ()) and own in seen and (equals or follows):
                raise Usage(f'{own} is there twice. Both, one after the other: {own} "first && second"', help_of=name)
            seen.add(own)
        elif (name, flag) in _SWITCHES and not equals:
            found += _SWITCHES[name, flag]
        elif (name, flag) in _NEEDLESS:
            said.append(_NEEDLESS[name, flag])
        elif flag in hints:
            raise Usage(f"{flag}: {hints[flag]}", help_of=name)
        else:
            found.append(word)
    return found, said
