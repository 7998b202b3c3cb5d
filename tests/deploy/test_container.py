"""The programs of the worker's image, run as its container runs them, with no container engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Beatctl, wait_until

WORKER = Path(__file__).resolve().parents[2] / "deploy" / "worker"


class Container:
    """`beatctl-container` with the environment and the folder of programs that the image gives it."""

    def __init__(self, beatctl: Beatctl, log: Path) -> None:
        self.environ = {**beatctl.environ, "PATH": f"{beatctl.program.parent}{os.pathsep}{beatctl.environ['PATH']}"}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        line = ["sh", str(WORKER / "beatctl-container.sh"), *words]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                line, env={**self.environ, **more}, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.process

    def ready(self) -> bool:
        """What the image's health check says."""
        line = [sys.executable, "-I", str(WORKER / "beatctl-ready.py")]
        done = subprocess.run(line, env=self.environ, capture_output=True, text=True, check=False)
        assert (done.returncode, bool(done.stderr)) in ((0, False), (1, True)), done
        return done.returncode == 0

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def container(beatctl: Beatctl, place: Path) -> Iterator[Container]:
    started = Container(beatctl, place / "container.log")
    yield started
    if started.process is not None and started.process.poll() is None:
        started.process.kill()
        started.process.wait()


@pytest.fixture
def project(place: Path) -> Path:
    """A repository, and an agent that writes down each start and ends when it is let."""
    folder = place / "project"
    folder.mkdir()
    (folder / "n").write_text("5\n")
    agent = place / "agent.sh"
    agent.write_text(
        f"echo began >> {place}/began\n"
        f"while [ ! -e {place}/go ]; do sleep 0.1; done\n"
        f"rm {place}/go\n"
        "echo $(($(cat n) - 1)) > n.new && mv n.new n\n"
    )
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "five"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_a_container_whose_end_costs_the_agent_that_runs_in_it(
    container: Container, beatctl: Beatctl, project: Path, place: Path
) -> None:
    def begun() -> int:
        began = place / "began"
        return began.read_text().count("began") if began.exists() else 0

    assert not container.ready()
    first = container.start()
    wait_until(container.ready, "a worker that takes work", every_s=0.2)
    words = ["start", "lower n", "--eval", "cat n", "--minimize", "--agent", f"sh {place}/agent.sh", "-n", "2"]
    loop = beatctl(*words, "-d", "--json", cwd=project, expect=0).json["id"]
    wait_until(lambda: begun() == 1, "the first agent")

    # Told to stop, it waits for the agent, and nothing types the worker back to life meanwhile.
    first.send_signal(signal.SIGTERM)
    wait_until(lambda: container.said("Waiting for 1 running"), "word of the agent that runs")
    assert not container.ready()
    assert beatctl("status", loop, "--json", cwd=project, expect=0).json["state"] == "running"
    assert first.poll() is None
    (place / "go").touch()
    assert first.wait(60) == 0
    assert begun() == 1

    # The next one takes in what came of it.
    second = container.start("up")
    wait_until(lambda: begun() == 2, "the second agent")
    rows = beatctl("show", loop, "--json", cwd=project, expect=0).json
    assert [(row["verdict"], row["score"]) for row in rows] == [("baseline", 5.0), ("keep", 4.0)]

    # Told twice, it waits no longer: the agent would end with the container, and runs again.
    second.send_signal(signal.SIGTERM)
    wait_until(lambda: container.said("Waiting for 1 running"), "word of the agent that runs")
    assert container.end() == 0
    assert container.said("Not waiting for agents any longer")


def test_a_container_that_works_on_with_a_placeholder_for_a_key(container: Container) -> None:
    more = {"ANTHROPIC_API_KEY": "REPLACE-ME with a key", "OPENAI_API_KEY": "sk-real"}
    assert container.start(**more).wait(30) == 2
    assert container.log.read_text() == "Still the example's value: ANTHROPIC_API_KEY. Put yours in its place.\n"


def test_a_container_that_can_run_nothing_but_the_worker(container: Container) -> None:
    assert container.start("--version").wait(30) == 0
    assert container.said("beatctl ")
    assert container.start("doctor", "--no-such-flag").wait(30) == 2
