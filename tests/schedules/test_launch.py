"""A workflow starts a loop on its host: once, also where the worker dies meanwhile; what `start` refuses it tells."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from beatctl.activities.records import Status
from beatctl.workflows.launch import LaunchInput, LaunchWorkflow
from tests.faults.machine import pid_of
from tests.schedules.conftest import Host
from tests.support import wait_until

pytestmark = pytest.mark.xdist_group("schedules")

PASSES = ("--until", "grep -q ok n", "-a", "sh -c 'echo ok > n'")


def launched(host: Host, given: LaunchInput) -> Callable[[Client], Awaitable[WorkflowHandle[LaunchWorkflow, Status]]]:
    async def launch(client: Client) -> WorkflowHandle[LaunchWorkflow, Status]:
        return await client.start_workflow(
            LaunchWorkflow.run, given, id=f"launch-{given.loop or host.repository.folder}", task_queue=host.queue
        )

    return launch


def result(host: Host, given: LaunchInput) -> Status:
    async def work(client: Client) -> Status:
        return await (await launched(host, given)(client)).result()

    return host.with_client(work)


def folder(host: Host) -> str:
    return str(host.repository.folder)


def test_a_launched_loop_has_its_id_and_folder_and_its_end_is_the_answer(host: Host) -> None:
    given = LaunchInput(loop="launched-one", arguments=["write ok", *PASSES], directory=folder(host))
    ended = result(host, given)
    assert (ended.id, ended.outcome, ended.reason, ended.directory) == (
        "launched-one",
        "reached",
        "passed",
        folder(host),
    )
    assert host.status("launched-one") == {**ended.model_dump(mode="json"), "elapsed_s": ended.elapsed_s}
    assert host.repository.read("n") == "ok\n"
    assert list((host.beatctl.home / "launches").glob("*/")) == []


def test_texts_that_travel_with_a_launch_are_files_where_the_loop_starts(host: Host) -> None:
    text = 'goal = "write ok"\nuntil = "grep -q ok n"\nagent = "sh -c \'echo ok > n\'"\n'
    given = LaunchInput(
        loop="by-file",
        arguments=["-f", "<loop>/beatctl.toml"],
        directory=folder(host),
        files={"<loop>/beatctl.toml": text},
    )
    assert result(host, given).goal == "write ok"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["write ok"], 2, "How is success told?"),
        (["write ok", "--until", "true", "-a", "no-such-agent"], 3, '"no-such-agent" is not on PATH'),
    ],
)
def test_what_start_refuses_is_told_in_its_words_and_not_tried_again(
    host: Host, arguments: list[str], exit_code: int, words: str
) -> None:
    before = host.beatctl.look_at_all()
    with pytest.raises(WorkflowFailureError) as failed:
        result(host, LaunchInput(loop=f"refused-{exit_code}", arguments=arguments, directory=folder(host)))
    cause = failed.value.cause.__cause__
    assert isinstance(cause, ApplicationError)
    assert cause.type == "Refused"
    assert cause.details == ({"exit_code": exit_code},)
    assert words in cause.message
    assert host.beatctl.look_at_all() == before
    assert list((host.beatctl.home / "launches").glob("*/")) == []


def test_an_id_that_is_taken_is_refused_and_its_loop_left_alone(host: Host) -> None:
    result(host, LaunchInput(loop="taken", arguments=["write ok", *PASSES], directory=folder(host)))
    before = host.status("taken")
    done = host.beatctl(
        "start", "again", *PASSES, cwd=host.repository.folder, env={"BEATCTL_LOOP_ID": "taken"}, expect=2
    )
    assert "The loop id taken is taken." in done.stderr
    assert host.status("taken") == before


def held_agent(host: Host) -> tuple[str, Path, Path]:
    """An agent that works until a file is there, that file, and the one that tells that it has begun."""
    go, begun = host.repository.folder.parent / "go", host.repository.folder.parent / "begun"
    agent = host.repository.agent(f"touch {begun}; until [ -e {go} ]; do sleep 0.1; done; echo ok > n")
    return agent, go, begun


def cancelled(host: Host, given: LaunchInput, begun: Path) -> BaseException | None:
    """Cancel a launch once its loop's agent works; how the launch ended."""

    async def work(client: Client) -> BaseException | None:
        handle = await launched(host, given)(client)
        wait_until(begun.exists, "the agent")
        await handle.cancel()
        try:
            await handle.result()
        except WorkflowFailureError as failed:
            return failed.cause
        return None

    return host.with_client(work)


def test_a_cancelled_launch_stops_watching_and_its_loop_goes_on(host: Host) -> None:
    agent, go, begun = held_agent(host)
    given = LaunchInput(
        loop="goes-on", arguments=["write ok", "--until", "grep -q ok n", "-a", agent], directory=folder(host)
    )
    assert isinstance(cancelled(host, given, begun), CancelledError)
    assert host.status("goes-on")["state"] == "running"
    go.touch()
    assert host.finished("goes-on")["outcome"] == "reached"


def test_a_cancelled_launch_ends_its_loop_where_that_was_asked_for(host: Host) -> None:
    agent, _, begun = held_agent(host)
    arguments = ["write ok", "--until", "grep -q ok n", "-a", agent]
    given = LaunchInput(loop="ends-too", arguments=arguments, directory=folder(host), cancels_loop=True)
    assert isinstance(cancelled(host, given, begun), CancelledError)
    status: Any = host.status("ends-too")
    assert (status["state"], status["outcome"]) == ("finished", "cancelled")


def test_a_worker_killed_while_it_starts_a_loop_starts_one_and_still_tells_its_end(own_host: Host) -> None:
    host = own_host
    gate, slow = host.repository.folder.parent / "gate", host.repository.folder.parent / "slow"
    slow.mkdir()
    waits = f'[ "$BEATCTL_LOOP_ID" ] && until [ -e {gate} ]; do sleep 0.05; done'
    (slow / "git").write_text(f'#!/bin/sh\n{waits}\nPATH=${{PATH#*:}} exec git "$@"\n')
    (slow / "git").chmod(0o755)
    host.beatctl.environ["PATH"] = f"{slow}:{host.beatctl.environ['PATH']}"

    async def work(client: Client) -> Status:
        given = LaunchInput(loop="only-one", arguments=["write ok", *PASSES], directory=folder(host))
        handle = await launched(host, given)(client)
        worker = pid_of(host, "worker")
        wait_until(lambda: list((host.beatctl.home / "launches").glob("*/stderr")), "the command that starts the loop")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: pid_of(host, "worker") not in (None, worker), "another worker")
        gate.touch()
        return await handle.result()

    assert host.with_client(work).outcome == "reached"
    assert list(host.beatctl.look_at_all()) == ["only-one"]
