"""Server and worker by hand: up, down, worker, ui."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from beatctl.cli import concurrency, service
from beatctl.cli.arguments import Json, Loop
from beatctl.cli.concurrency import MaxConcurrentAgents, MaxConcurrentEvaluators
from beatctl.cli.hosts import HostName, settle_name
from beatctl.cli.loops import Loops
from beatctl.cli.output import out, out_json, say
from beatctl.cli.problems import Unavailable, Usage
from beatctl.worker.concurrency import Concurrency, of_worker

if TYPE_CHECKING:
    from beatctl.worker.what_runs import Running


def up(
    detach: Annotated[bool, typer.Option("-d", "--detach", help="In the background.")] = False,
    max_concurrent_agents: MaxConcurrentAgents = None,
    max_concurrent_evaluators: MaxConcurrentEvaluators = None,
    name: HostName = None,
    install: Annotated[bool, typer.Option("--install", help="As a systemd user service: back after a reboot.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Remove that service.")] = False,
    as_json: Json = False,
) -> int:
    """Run the Temporal server and a worker.

    Here until Ctrl-C, or with -d in the background. `start` does this by itself.
    """
    from beatctl.cli import install as installing
    from beatctl.worker import local
    from beatctl.worker.concurrency import AGENTS, EVALUATORS, variables

    if detach + install + uninstall > 1:
        raise Usage("Only one of -d, --install and --uninstall.", help_of="up")
    loops = Loops()
    if uninstall:
        return installing.uninstall(loops, as_json=as_json)
    if install:
        typed = {AGENTS: max_concurrent_agents, EVALUATORS: max_concurrent_evaluators}
        concurrency.chosen(loops.environ, max_concurrent_agents, max_concurrent_evaluators)  # a mistake is told now
        told = {name: value for name, value in typed.items() if value is not None}
        return installing.install(Loops({**loops.environ, **told}), name, as_json=as_json)
    loops.check_home()
    settle_name(loops, name)
    wanted = concurrency.chosen(loops.environ, max_concurrent_agents, max_concurrent_evaluators)
    environ = {**loops.environ, **variables(wanted)}
    if detach or as_json:
        running = service.ensure(loops, environ)
        held = _concurrency(loops, running)
        if held != wanted and (max_concurrent_agents, max_concurrent_evaluators) != (None, None):
            flags = f"--max-concurrent-agents {wanted.agents} --max-concurrent-evaluators {wanted.evaluators}"
            raise Usage(
                f"The worker runs already, with {concurrency.words(held)}. To change that: "
                f"beatctl down, then beatctl up -d {flags} (agents that run go on)"
            )
        if as_json:
            out_json(_as_json(running, held))
        else:
            ui_url = f", Web UI {running.ui_url}" if running.ui_url else ""
            out(f"Running: Temporal server {running.connection.address}{ui_url}, worker {running.worker_pid}.")
            if held != Concurrency():
                out(f"It runs {concurrency.words(held)}.")
        return 0
    try:
        local.become_supervisor(loops.home, environ, say)
    except service.known_problems() as problem:
        raise Unavailable(str(problem)) from None


def _concurrency(loops: Loops, running: Running) -> Concurrency:
    from beatctl.worker.run_folder import RunFolder

    return of_worker(RunFolder(loops.home.root, running.connection.label)) or Concurrency()


def _as_json(running: Running, held: Concurrency) -> dict[str, object]:
    return {
        "pid": running.pid,
        "version": running.version,
        "address": running.connection.address,
        "namespace": running.connection.namespace,
        "worker_pid": running.worker_pid,
        "max_concurrent_agents": held.agents,
        "max_concurrent_evaluators": held.evaluators,
        "ui_url": running.ui_url,
        "logs": {name: str(path) for name, path in running.logs.items()},
    }


def down(
    force: Annotated[bool, typer.Option("--force", help="End agents that run, too.")] = False, as_json: Json = False
) -> int:
    """End server and worker.

    Loops wait until `up`; agents that run go on, unless --force ends them.
    """
    from beatctl.worker import backoff, shutting_down

    loops = Loops()
    did = (
        shutting_down.shut_down(loops.home, force=force) if loops.home.root.exists() else shutting_down.ShutDown(False)
    )
    if as_json:
        out_json(
            {
                "was_running": did.was_running,
                "waiting": did.waiting,
                "agents": [_agent_json(agent) for agent in did.agents],
                "ended": [_agent_json(agent) for agent in did.ended],
                "crash_loops": [one.as_json() for one in did.crash_loops],
                "schedules": did.schedules,
            }
        )
        return 0
    out("Server and worker are down." if did.was_running else "Nothing was running.")
    for one in did.crash_loops:
        out(backoff.words_after(one))
    if did.waiting:
        out(f"Waiting until beatctl up: {', '.join(did.waiting)}")
    if did.schedules:
        out(f"Schedules that start nothing until then: {', '.join(did.schedules)}")
    for agent in did.agents:
        out(f"Goes on: {agent.loop} #{agent.iteration} ({agent.run}, process {agent.shim_pid})")
    if did.agents:
        out("Their results are taken in after beatctl up. To end them as well: beatctl down --force")
    for agent in did.ended:
        out(f"Ended: {agent.loop} #{agent.iteration} ({agent.run})")
    return 0


def _agent_json(agent: object) -> dict[str, object]:
    return {key: str(value) if key == "folder" else value for key, value in vars(agent).items()}


def worker(
    name: HostName = None,
    max_concurrent_agents: MaxConcurrentAgents = None,
    max_concurrent_evaluators: MaxConcurrentEvaluators = None,
) -> int:
    """Run a worker alone.

    Here until Ctrl-C, for the server that --profile or TEMPORAL_ADDRESS names, else for beatctl's own.
    """
    from beatctl.worker import local, what_runs
    from beatctl.worker.concurrency import variables
    from beatctl.worker.connection import chosen
    from beatctl.worker.hosts import this_host

    loops = Loops()
    loops.check_home()
    settle_name(loops, name)
    wanted = concurrency.chosen(loops.environ, max_concurrent_agents, max_concurrent_evaluators)
    connection = chosen(loops.environ)
    if connection is None:
        running = what_runs.running(loops.home, loops.environ)
        if running is None:
            raise Unavailable(
                "No server to work for: beatctl up runs one with its worker, or name one in --profile or "
                "TEMPORAL_ADDRESS."
            )
        connection = running.connection
    local.settle_for_worker(loops.home, loops.environ)
    line = local.worker_line(loops.home, connection)
    host = this_host(loops.home).name
    say(
        f"Host {host}, worker for {connection.address}, namespace {connection.namespace}. Ctrl-C ends it; agents go on."
    )
    sys.stderr.flush()
    os.execve(line[0], line, {**loops.environ, **variables(wanted)})


def ui(
    loop: Loop = None,
    as_json: Json = False,
    show: Annotated[bool, typer.Option("--print", help="Only print the address.")] = False,
) -> int:
    """Open a loop in the Temporal Web UI."""
    loops = Loops()
    status = loops.find(loop)
    if not status.ui_url:
        where = "beatctl's own server" if status.connection == "embedded" else status.connection
        raise Usage(f"Loop {status.id} is on {where}, and beatctl does not know the address of a Web UI there.")
    if not service.is_running(loops, status):
        say("The server is not running: beatctl up -d starts it.")
    if as_json:
        out_json({"id": status.id, "ui_url": status.ui_url})
        return 0
    out(status.ui_url)
    if not show and sys.stdout.isatty():
        import webbrowser

        webbrowser.open(status.ui_url)
    return 0
