"""The commands and their help. Light: a command's module is imported when that command is asked for."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from beatctl.cli import habits
from beatctl.cli.output import say
from beatctl.cli.problems import USAGE, Elsewhere, Problem

_EXAMPLES = (
    'beatctl start "fix the failing test in auth.test.ts" --until "npm test"',
    'beatctl start "reduce bundle size" --eval "node scripts/measure-bundle.js" --minimize',
)


class Entry(NamedTuple):
    """Where a command is, the first line of its help, and an example."""

    place: str
    summary: str
    example: str
    takes_start: bool = False
    """What follows `--` is for `start`: the command finds it in `ctx.meta[REST]`."""


REST = "rest"


COMMANDS = {
    "start": Entry("start:start", "Start a loop on a goal.", _EXAMPLES[0]),
    "init": Entry("init:init", "Write a loop file to fill in.", "beatctl init"),
    "demo": Entry("demonstrate:demo", "See two loops at work, at no cost.", "beatctl demo"),
    "watch": Entry("start:watch", "Stay with a loop that runs.", "beatctl watch k3f9"),
    "list": Entry("listing:list_", "List every loop, newest first.", "beatctl list"),
    "status": Entry("view:status", "Show how a loop stands.", "beatctl status k3f9 --json"),
    "logs": Entry("logs:logs", "Print what agent and evaluator printed.", "beatctl logs -f"),
    "pause": Entry("act:pause", "Pause a loop after this iteration.", "beatctl pause k3f9"),
    "resume": Entry("resume:resume", "Go on with a loop that is paused or has ended.", "beatctl resume k3f9 -n +300"),
    "stop": Entry("act:stop", "End a loop after this iteration.", "beatctl stop k3f9"),
    "cancel": Entry("act:cancel", "End a loop now.", "beatctl cancel k3f9"),
    "set": Entry(
        "setting:set_", "Change limits while a loop runs.", "beatctl set k3f9 --max-iterations 300 --cooldown 30s"
    ),
    "note": Entry("act:note", "Tell the agent something.", 'beatctl note k3f9 "try lazy loading"'),
    "report": Entry("report.command:report", "Tell what a loop came to.", "beatctl report --html k3f9.html"),
    "show": Entry("view:show", "Show all experiments, or number N whole.", "beatctl show 12"),
    "diff": Entry("change:diff", "Show what the loop changed.", "beatctl diff --stat"),
    "apply": Entry("apply:apply", "Turn what a loop kept into commits.", "beatctl apply k3f9 --branch smaller-bundle"),
    "push": Entry("push:push", "Push a loop's branch to the repository it was started from.", "beatctl push k3f9"),
    "undo": Entry("change:undo", "Put the folder back as it was.", "beatctl undo k3f9"),
    "gc": Entry("gc.command:gc", "Free what ended loops left.", "beatctl gc --older-than 30d"),
    "agents": Entry("agents:agents", "List the agents, or check that one works.", "beatctl agents check claude"),
    "notify": Entry(
        "notify:notify", "Say where loops' messages go, or send a test.", "beatctl notify test --notify ntfy://my-topic"
    ),
    "schedule": Entry("", "Start loops at set times.", "beatctl schedule list"),
    "doctor": Entry("doctor:doctor", "Say what is there and what is missing.", "beatctl doctor"),
    "mcp": Entry("mcp.command:mcp", "Let agents start and steer loops, by MCP.", "beatctl mcp"),
    "ui": Entry("engine:ui", "Open a loop in the Temporal Web UI.", "beatctl ui k3f9"),
    "up": Entry("engine:up", "Run the Temporal server and a worker.", "beatctl up -d"),
    "down": Entry("engine:down", "End server and worker.", "beatctl down"),
    "worker": Entry("engine:worker", "Run a worker alone.", "beatctl worker"),
    "setup-cluster": Entry(
        "setup_cluster:setup_cluster", "Make a shared Temporal server ready.", "beatctl setup-cluster --retention 90d"
    ),
    "completion": Entry(
        "completion:completion", "Print what makes your shell complete beatctl.", "beatctl completion bash"
    ),
}

SUBCOMMANDS = {
    "schedule": {
        "create": Entry(
            "schedule.create:create",
            "Start a loop at set times.",
            'beatctl schedule create nightly --cron "0 22 * * 1-5" -- "fix the flaky test" --until "npm test"',
            takes_start=True,
        ),
        "list": Entry("schedule.look:list_", "List the schedules.", "beatctl schedule list"),
        "show": Entry(
            "schedule.look:show", "Show a schedule and what it has started.", "beatctl schedule show nightly"
        ),
        "pause": Entry("schedule.act:pause", "Start nothing more until resumed.", "beatctl schedule pause nightly"),
        "resume": Entry("schedule.act:resume", "Go on with a paused schedule.", "beatctl schedule resume nightly"),
        "trigger": Entry("schedule.act:trigger", "Start its loop now, once.", "beatctl schedule trigger nightly"),
        "delete": Entry("schedule.act:delete", "Delete a schedule; its loops stay.", "beatctl schedule delete nightly"),
    }
}
"""The commands that others are groups of; the first is the group's example, and a group alone is its `list`."""

GROUPS = {
    "Start": "start",
    "Follow": "watch",
    "Steer": "pause",
    "The morning after": "report",
    "Around": "agents",
}
"""Headings in the list of commands, and the command each stands above."""

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Command(TyperCommand):
    """A command whose help starts with an example, and which understands what people are used to."""

    path = ""
    """All its words: `schedule create`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if entry_of(self.path).takes_start and "--" in args:
            place = args.index("--")
            args, ctx.meta[REST] = args[:place], args[place + 1 :]
        known = {
            flag: not getattr(param, "is_flag", False)
            for param in self.get_params(ctx)
            if param.param_type_name == "option"
            for flag in (*param.opts, *param.secondary_opts)
        }
        words, told = habits.flags(self.path, _take_profile(args, known), known)
        for line in told:
            say(line)
        return list(super().parse_args(ctx, words))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(f"$ {entry_of(self.path).example}\n\n")
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        records = [(param.param_type_name, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        # Typer would add each argument's Python type to its name.
        arguments = [(found[0].partition(" <")[0], found[1]) for kind, found in records if found and kind == "argument"]
        options = [found for kind, found in records if found and kind != "argument"]
        for title, lines in (("Arguments", arguments), ("Options", options)):
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


def _take_profile(words: list[str], known: dict[str, bool]) -> list[str]:
    """The words without `--profile NAME`, by which every command is told its Temporal server. Raises Usage."""
    left, name = habits.profile(words, known)
    if name is not None:
        os.environ["BEATCTL_PROFILE"] = name
    return left


class _Group(TyperGroup):
    """All commands by name; each is made when it is asked for."""

    path = ""
    entries = COMMANDS
    headings = GROUPS
    examples: tuple[str, ...] = _EXAMPLES
    options: tuple[tuple[str, str], ...] = ()
    """Those that are no options of Typer's."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=entry.summary, rich_markup_mode=None) for name, entry in self.entries.items()
        }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return made(f"{self.path} {cmd_name}".strip()) if cmd_name in self.entries else None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write("".join(f"$ {example}\n" for example in self.examples) + "\n")
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        records = [*self.options, *filter(None, (param.get_help_record(ctx) for param in self.get_params(ctx)))]
        with formatter.section("Options"):
            # No option of Typer's: it would load pydantic to check a text that was not given.
            formatter.write_dl(
                [("--profile NAME", "On this profile's Temporal server (after COMMAND, too)."), *records]
            )
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        headings = {first: heading for heading, first in self.headings.items()}
        sections: list[tuple[str, list[tuple[str, str]]]] = []
        for name, entry in self.entries.items():
            if name in headings:
                sections.append((headings[name], []))
            sections[-1][1].append((name, entry.summary))
        widest = max(map(len, self.entries))
        for heading, lines in sections:
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in lines])


class _Subgroup(_Group):
    """The commands of a group. Its --help is its own, for the same reason as that of all commands."""

    options = (("-h, --help", "Show this message."),)

    def __init__(self, name: str) -> None:
        self.path = name
        self.entries = SUBCOMMANDS[name]
        self.headings = {"Commands": next(iter(self.entries))}
        self.examples = tuple(entry.example for entry in list(self.entries.values())[:1])
        super().__init__(
            name=name,
            help=COMMANDS[name].summary,
            context_settings=_SETTINGS,
            rich_markup_mode=None,
            options_metavar="",
        )
        self.add_help_option = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Before the command's name only, as in `run`.
        ahead = next((place for place, word in enumerate(args) if word in self.entries), len(args))
        words = [*_take_profile(args[:ahead], {}), *args[ahead:]]
        if words[:1] in (["-h"], ["--help"]):
            from beatctl.cli.output import out

            out(ctx.get_help())
            raise typer.Exit
        return list(super().parse_args(ctx, habits.subcommand(words, self.entries)))


def entry_of(name: str) -> Entry:
    """Of a command, by all its words."""
    group, _, last = name.rpartition(" ")
    return SUBCOMMANDS[group][last] if group else COMMANDS[name]


def every_command() -> list[str]:
    """Each with all its words, the groups' after the group."""
    return [path for name in COMMANDS for path in (name, *(f"{name} {last}" for last in SUBCOMMANDS.get(name, ())))]


def made(name: str) -> Any:
    """The command with these words, ready to run."""
    if name in SUBCOMMANDS:
        return _Subgroup(name)
    module, _, function = entry_of(name).place.partition(":")
    single = typer.Typer(rich_markup_mode=None, add_completion=False)
    single.command(name.rpartition(" ")[2], cls=_Command, context_settings=_SETTINGS)(
        getattr(import_module(f"beatctl.cli.{module}"), function)
    )
    command: Any = typer.main.get_command(single)
    command.path = name
    return command


# Its own --help: Typer's would load pydantic to check a flag that was not given.
app = typer.Typer(
    cls=_Group, rich_markup_mode=None, add_completion=False, add_help_option=False, pretty_exceptions_enable=False
)


@app.callback(invoke_without_command=True)
def bare(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    help_: Annotated[bool, typer.Option("-h", "--help", help="Show this message.")] = False,
) -> int:
    """Durable loops for coding agents: a goal, a command that scores it, and a limit."""
    from beatctl.cli.output import out

    if help_:
        out(ctx.get_help())
        raise typer.Exit
    if version:
        from beatctl import __version__

        out(f"beatctl {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        from beatctl.cli.overview import overview

        raise typer.Exit(overview())
    return 0


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code. Raises only what nobody foresaw."""
    try:
        # Before the command's name only: what follows it is read by the command, which knows its own flags' values.
        ahead = next((place for place, word in enumerate(arguments) if word in COMMANDS), len(arguments))
        words = habits.command([*_take_profile(arguments[:ahead], {}), *arguments[ahead:]], COMMANDS)
        try:
            code = app(args=words, prog_name="beatctl", standalone_mode=False)
        except Elsewhere as found:
            from beatctl.cli.remote import run_there

            code = run_there(found, words, os.environ)
        return code if isinstance(code, int) else 0
    except Problem as problem:
        say(problem.text)
        if problem.help_of:
            say(f"Help: beatctl {problem.help_of} --help")
        return problem.exit_code
    except Exception as error:
        # What Typer raises for a flag it doesn't know lives in a private module, another one in each of its versions.
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        return _told_usage(error, str(format_message()))


_PLAIN = (
    (r"No such command '(.*?)'\. Did you mean '(.*?)', '(.*)'\?", r'There is no command "\1". Did you mean \2 or \3?'),
    (r"No such command '(.*?)'\. Did you mean '(.*)'\?", r'There is no command "\1". Did you mean \2?'),
    (r"No such command '(.*)'\.", r'There is no command "\1".'),
    (r"No such option: (\S+?)\.?( Did you mean .*|)", r"There is no flag \1.\2"),
    (r"Option '(.*)' requires an argument\.", r"\1 needs a value."),
    (r"Option '(.*)' does not take a value\.", r"\1 takes no value."),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", r'Too many words: "\1".'),
)


def _plain(message: str) -> str:
    """What the library says of a command line, in the words of all other messages."""
    import re

    for pattern, words in _PLAIN:
        found = re.fullmatch(pattern, message)
        if found:
            return found.expand(words)
    return message


def _told_usage(error: Exception, message: str) -> int:
    path = getattr(getattr(error, "ctx", None), "command_path", "beatctl")
    wrong, possible = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    if wrong and possible:
        from difflib import get_close_matches

        [meant] = get_close_matches(wrong, possible, n=1, cutoff=0)
        message = f"No such option: {wrong}. Did you mean {meant}?"
    say(_plain(" ".join(message.split())))
    say(f"Help: {path} --help")
    return int(getattr(error, "exit_code", USAGE))
