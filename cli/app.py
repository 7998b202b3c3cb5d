"""The commands and their help. Light: what a command needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from beatctl.cli import act, change, demonstrate, doctor, engine, logs, start, view
from beatctl.cli.output import say
from beatctl.cli.problems import USAGE, Problem

_GROUP_EXAMPLES = (
    'beatctl start "fix the failing test in auth.test.ts" --until "npm test"',
    'beatctl start "reduce bundle size" --eval "node scripts/measure-bundle.js" --minimize',
)

_COMMANDS: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("start", start.start, 'beatctl start "fix the failing test in auth.test.ts" --until "npm test"'),
    ("list", view.list_, "beatctl list"),
    ("status", view.status, "beatctl status k3f9 --json"),
    ("watch", start.watch, "beatctl watch k3f9"),
    ("show", view.show, "beatctl show 12"),
    ("logs", logs.logs, "beatctl logs -f"),
    ("diff", change.diff, "beatctl diff --stat"),
    ("pause", act.pause, "beatctl pause k3f9"),
    ("resume", act.resume, "beatctl resume k3f9"),
    ("stop", act.stop, "beatctl stop k3f9"),
    ("cancel", act.cancel, "beatctl cancel k3f9"),
    ("set", act.set_, "beatctl set k3f9 --max-iterations 300 --cooldown 30s"),
    ("undo", change.undo, "beatctl undo k3f9"),
    ("up", engine.up, "beatctl up -d"),
    ("down", engine.down, "beatctl down"),
    ("worker", engine.worker, "beatctl worker"),
    ("ui", engine.ui, "beatctl ui k3f9"),
    ("doctor", doctor.doctor, "beatctl doctor"),
    ("demo", demonstrate.demo, "beatctl demo"),
)


class _Command(TyperCommand):
    """A command whose help starts with an example."""

    examples: Sequence[str] = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_examples(formatter, self.examples)
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        records = [(param.param_type_name, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        # Typer would add each argument's Python type to its name.
        arguments = [
            (record[0].partition(" <")[0], record[1]) for kind, record in records if record and kind == "argument"
        ]
        options = [record for kind, record in records if record and kind != "argument"]
        for title, lines in (("Arguments", arguments), ("Options", options)):
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


class _Group(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_examples(formatter, _GROUP_EXAMPLES)
        super().format_help(ctx, formatter)


def _write_examples(formatter: Any, examples: Sequence[str]) -> None:
    for example in examples:
        formatter.write(f"$ {example}\n")
    formatter.write("\n")


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
app = typer.Typer(
    cls=_Group, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, context_settings=_SETTINGS
)


@app.callback(invoke_without_command=True)
def bare(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    """Durable loops for coding agents: a goal, a command that scores it, and a limit."""
    if version:
        from beatctl import __version__
        from beatctl.cli.output import out

        out(f"beatctl {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        raise typer.Exit(view.overview())
    return 0


for _name, _function, _example in _COMMANDS:
    _class = type(f"_{_name.title()}Command", (_Command,), {"examples": (_example,)})
    app.command(_name, cls=_class, context_settings=_SETTINGS)(_function)


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code. Raises only what nobody foresaw."""
    try:
        code = app(args=arguments, prog_name="beatctl", standalone_mode=False)
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


def _told_usage(error: Exception, message: str) -> int:
    text = message.strip()
    path = getattr(getattr(error, "ctx", None), "command_path", "beatctl")
    say(" ".join(text.split()))
    say(f"Help: {path} --help")
    return getattr(error, "exit_code", USAGE)
