"""`init`: write a loop file with every key explained, or an MCP server's entry; never over what is there."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from beatctl.cli.arguments import Json
from beatctl.cli.levels import LOOP_FILE, REPOSITORY_FILE, user_file
from beatctl.cli.output import out_json, say
from beatctl.cli.problems import Usage

_TESTS = {"Cargo.toml": "cargo test", "go.mod": "go test ./..."}
_LOCKS = {"yarn.lock": "yarn test", "pnpm-lock.yaml": "pnpm test"}


def init(
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="loop.toml; or beatctl.toml, for all loops.", show_default=False),
    ] = None,
    mcp: Annotated[
        str | None,
        typer.Option(
            "--mcp",
            metavar="claude|codex|gemini|all",
            help="Instead: let this agent program use beatctl.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write a new one and keep the old one beside it.")] = False,
    as_json: Json = False,
) -> int:
    """Write a loop file to fill in.

    Every key is in it, with a sentence and its default. beatctl start -f loop.toml runs it. With --mcp nothing of that,
    but beatctl's MCP server among those of the agent program; what else is there stays.
    """
    if mcp is not None:
        from beatctl.cli.mcp.clients import write_entries

        if file is not None:
            raise Usage(f"--mcp writes no loop file: leave out {file}, or --mcp.", help_of="init")
        return write_entries(mcp, force=force, as_json=as_json)
    return _write_file(LOOP_FILE if file is None else file, force, as_json)


def _write_file(file: str, force: bool, as_json: bool) -> int:
    from beatctl.cli import loop_template

    path = Path(file).expanduser()
    where = {REPOSITORY_FILE: "in this repository"}.get(path.name)
    if path.absolute() == user_file(os.environ):
        where = "of yours on this machine"
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
    guessed, by = guess(path.absolute().parent) if where is None else ({}, None)
    helps = _helps()
    if where:
        new = loop_template.settings_file(where, helps, repository=path.name == REPOSITORY_FILE)
    else:
        new = loop_template.loop_file(file, helps, guessed)
    kept = write_new(path, file, new, force)
    if as_json:
        out_json({"file": str(path.absolute()), "kept": str(kept.absolute()) if kept else None, "guessed": guessed})
        return 0
    if kept:
        say(f"The file that was there is now {kept}.")
    if guessed:
        say(f"Wrote {file}; its goal and until are guessed from {by}: look at them, then: beatctl start -f {file}")
    elif where is None:
        say(f"Wrote {file}. Write the goal and until (or eval) into it, then: beatctl start -f {file}")
    else:
        say(f"Wrote {file}: what you write there holds for every loop {where}.")
    return 0


def guess(folder: Path) -> tuple[dict[str, str], str | None]:
    """Goal and evaluator where the folder leaves no doubt how its tests are run, and the file that says so."""
    found = {name: line for name, line in _TESTS.items() if (folder / name).is_file()}
    if _has_test_script(folder / "package.json"):
        found["package.json"] = next((line for name, line in _LOCKS.items() if (folder / name).is_file()), "npm test")
    if re.search(r"^test\s*:(?!=)", _read(folder / "Makefile"), re.MULTILINE):
        found["Makefile"] = "make test"
    if len(found) != 1:
        return {}, None
    [(name, line)] = found.items()
    return {"goal": f"make `{line}` pass", "until": line}, name


def _has_test_script(path: Path) -> bool:
    try:
        content = json.loads(_read(path))
        script: Any = content["scripts"]["test"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(script, str) and bool(script.strip()) and "no test specified" not in script


def _read(path: Path) -> str:
    """The text of a small file; empty where there is none to read."""
    try:
        return path.read_text("utf-8") if path.is_file() and path.stat().st_size < 1024 * 1024 else ""
    except (OSError, ValueError):
        return ""


def write_new(path: Path, shown: str, text: str, force: bool) -> Path | None:
    """Write a file that is not there yet; with `force` also one that is, which is kept under a name that is free.

    Returns where the old one is kept. Raises Usage.
    """
    if path.is_dir():
        raise Usage(f"{shown} is a folder. Name a file in it: {shown.rstrip('/')}/loop.toml", help_of="init")
    try:
        kept = keep_copy(path) if force else None
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            fresh.write_text(text, encoding="utf-8")
            if kept:
                os.replace(fresh, path)
            else:
                with path.open("x"):  # taken, so that nothing of anyone's is replaced
                    os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        return kept
    except FileExistsError:
        raise Usage(
            f"{shown} is there already, and was not touched. Another name: beatctl init other.toml. "
            "--force writes a new one and keeps the old one beside it."
        ) from None
    except OSError as problem:
        raise Usage(f"{shown} can't be written: {problem.strerror or problem}.", help_of="init") from None


def keep_copy(path: Path) -> Path | None:
    """Copy what is there to a name that nothing has yet."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    number = 0
    while True:
        copy = path.with_name(f"{path.name}.old{number or ''}")
        try:
            with copy.open("xb") as file:
                file.write(content)
        except FileExistsError:
            number += 1
            continue
        copy.chmod(path.stat().st_mode & 0o777)
        return copy


def _helps() -> dict[str, str]:
    """What the help of `start` says about each key."""
    from beatctl.cli.app import made

    return {
        flag.removeprefix("--").replace("-", "_"): str(getattr(param, "help", "") or "")
        for param in made("start").params
        for flag in param.opts
    }
