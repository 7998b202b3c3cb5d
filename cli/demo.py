"""`beatctl demo`: an optimize and a retry loop on a real repository made for it, by the commands a person types."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from beatctl.cli.levels import without_settings
from beatctl.cli.output import out, out_json, say
from beatctl.cli.problems import CANCELLED, ENDED_WITHOUT, ENVIRONMENT, USAGE, Unavailable, Usage
from beatctl.cli.render import change, score
from beatctl.worker.isolation import python_module

SMALLER = "make the dashboard bundle smaller"
FIX = "make the price tests pass"
SCRIPTED_ITERATIONS = 7
REAL_ITERATIONS = 4
"""With an agent that costs money."""


def run_demo(agent: str | None, as_json: bool, keep: Path | None) -> int:
    """Make the project, run both loops on it, show what came of it.

    `agent`: None for the scripted one. `keep`: the folder to make, else a temporary one; it stays either way.
    Returns 0 when the bundle got smaller and the tests pass, else 1, or what `start` returned when it could not start,
    was cancelled or left.
    """
    project = _make_project(keep)
    python = _python()
    say(f"A small project, in a git repository of its own: {project}")
    say("Its bundle is larger than it need be, and a test of its price list fails. Two loops work on that.\n")
    bundle, check, test = (f"{python} {path}" for path in _COMMANDS)
    worker = ["--agent", agent] if agent else ["--agent", f"{python} -I ../agent.py"]
    iterations = str(REAL_ITERATIONS if agent else SCRIPTED_ITERATIONS)
    optimize = [SMALLER, "--eval", bundle, "--minimize", "--check", check, *worker, "-n", iterations]
    retry = [FIX, "--until", test, *worker, "-n", iterations]

    loops: list[dict[str, Any]] = []
    for words in (optimize, retry):
        code, status = _start(words, project)
        if status is None:
            if code in (USAGE, ENVIRONMENT) and not loops and keep is None:
                shutil.rmtree(project.parent)  # nothing started: nothing to look at
            return code or ENDED_WITHOUT
        loops.append(status)
        if status["state"] != "finished" or code in (ENVIRONMENT, CANCELLED):
            if as_json:
                out_json(
                    {
                        "directory": str(project),
                        "loops": loops,
                        "problem": f"Loop {status['id']} did not get to its end.",
                    }
                )
            return code or ENDED_WITHOUT  # paused, cancelled or left: what to do is said
    smaller, fixed = loops
    problem = _problem(smaller, fixed, project)
    if as_json:
        out_json({"directory": str(project), "loops": loops, "problem": problem})
    else:
        _show(smaller, fixed, project, problem)
    return ENDED_WITHOUT if problem else 0


_COMMANDS = ("tools/bundle_size.py", "tests/check_bundle.py", "tests/test_prices.py")


def _make_project(keep: Path | None) -> Path:
    """The project's files in a repository with one commit, and the scripted agent beside it."""
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="beatctl-demo-"))
    else:
        folder = keep.expanduser().absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Usage(f"{folder} is there already and not empty. Name another folder for the demo.")
        folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("demo_project")
    project = folder / "project"
    shutil.copytree(source / "files", project, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    (project / "gitignore").rename(project / ".gitignore")
    shutil.copy(source / "agent.py", folder / "agent.py")
    _git(project, "-c", "init.defaultBranch=main", "init", "-q")
    _git(project, "add", "--all")
    # The person's own configuration may ask for a signature, or run hooks: not for a demo.
    identity = ["-c", "user.name=beatctl demo", "-c", "user.email=demo@example.com"]
    quiet = ["-c", "commit.gpgSign=false", "-c", "core.hooksPath=/dev/null"]
    _git(project, *identity, *quiet, "commit", "-qm", "A dashboard and a shop")
    return project


def _git(project: Path, *words: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ran = subprocess.run(
            ["git", *words],
            cwd=project,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise Unavailable("The demo makes a git repository, and git is not on PATH. Install git.") from None
    if ran.returncode != 0:
        raise Unavailable(f"git could not make the demo's repository in {project}: {ran.stderr.strip()}")
    return ran.stdout


def _python() -> str:
    """`python3` as a person would type it, where there is one that runs; else this Python, quoted for the shell."""
    try:
        probe = ["python3", "-I", "-c", "import sys; sys.exit(sys.version_info < (3, 8))"]
        if subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0:
            return "python3"
    except OSError:
        pass
    return shlex.quote(sys.executable)


def _start(words: list[str], project: Path) -> tuple[int, dict[str, Any] | None]:
    """Run `beatctl start` as a person would, its lines on stderr; exit code and the loop's status, if it started."""
    say(f"$ beatctl start {shlex.join(words)}")
    process = subprocess.Popen(
        python_module("beatctl.cli.entry", "start", *words, "--json"),
        cwd=project,
        env=without_settings(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    printed = ""
    while True:
        try:
            printed = process.communicate()[0]
            break
        except KeyboardInterrupt:
            continue  # it got the Ctrl-C too, and says what became of the loop
    say()
    try:
        status = json.loads(printed)
    except ValueError:
        return process.returncode, None
    return process.returncode, status if isinstance(status, dict) and "outcome" in status else None


def _problem(smaller: dict[str, Any], fixed: dict[str, Any], project: Path) -> str | None:
    """What is not as a demo should end, looked at in the work tree itself; None when all is well."""
    best, baseline = _scores(smaller)
    if best is None or baseline is None or best >= baseline:
        return f"The bundle did not get smaller (loop {smaller['id']})."
    if fixed["outcome"] != "reached":
        return f"The tests do not pass (loop {fixed['id']})."
    bundle, _, test = _COMMANDS
    # The second loop's work is in the tree as well, but not in the bundle.
    size = subprocess.run(
        [sys.executable, "-I", bundle], cwd=project, capture_output=True, text=True, check=False
    ).stdout
    if size.strip() != str(int(best)):
        return f"The folder does not hold the best version: its bundle has {size.strip() or 'no'} bytes."
    if subprocess.run([sys.executable, "-I", test], cwd=project, capture_output=True, check=False).returncode:
        return "The folder does not hold the version that passed."
    return None


def _scores(status: dict[str, Any]) -> tuple[float | None, float | None]:
    """Best and baseline."""
    best, baseline = ((status.get(which) or {}).get("score") for which in ("best", "baseline"))
    return best, baseline


def _show(smaller: dict[str, Any], fixed: dict[str, Any], project: Path, problem: str | None) -> None:
    after, before = _scores(smaller)
    if problem:
        out(problem)
    else:
        out(f"Bundle: {score(before)} → {score(after)} bytes ({change(after, before)}).")
        out(f"Tests:  pass at try {fixed['best']['iteration']}.")
    out("The folder holds both, as changes nobody has committed yet:\n")
    out(f"$ git -C {shlex.quote(str(project))} diff --stat HEAD")
    out(_git(project, "diff", "--stat", "HEAD").rstrip())
    out("\nWhat to type next:\n")
    here = (
        (f"cd {shlex.quote(str(project))}", ""),
        (f"beatctl show {smaller['id']}", "every experiment, with its verdict and score"),
        (f"beatctl diff {smaller['id']}", "what the loop changed"),
        (f"beatctl undo {smaller['id']}", "the folder as it was before that loop"),
        (f"beatctl ui {smaller['id']}", "the loop in Temporal's Web UI"),
        ("beatctl down", "end the server and worker that run in the background"),
    )
    for command, what in here:
        out(f"  {command:<24} {what}".rstrip())
    out('\nIn a repository of yours:\n\n  beatctl start "fix the failing test" --until "npm test"')
