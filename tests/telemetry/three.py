"""A loop of three iterations whose second candidate is worse and whose third agent crashes: keep, discard, crash."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import Beatctl
from tests.telemetry.receiver import Receiver

SETTINGS = {
    "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue%20whales",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
}
"""Beside where it is sent to."""
GOAL = "make the number of wombats smaller"
SAID = "moved the marmots aside"
AGENT = """#!/bin/sh
case $BEATCTL_ITERATION in
  1) echo 40 > n ;;
  2) echo 45 > n ;;
  3) echo 'the ocelots have failed' >&2; exit 7 ;;
esac
echo "moved the marmots aside"
"""
WORDS = (
    *("start", GOAL, "--eval", "cat n; : pangolins", "--minimize", "--check", "test -s n", "--memory", "none"),
    *("-n", "3", "--max-failures", "0", "--max-unchanged", "0", "-d", "--json"),
)


def repository(folder: Path, environ: dict[str, str]) -> Path:
    """A git repository with the file that is to become smaller, and the agent beside it."""
    folder.mkdir()
    (folder / "n").write_text("50\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, env=environ, check=True, capture_output=True)
    agent = folder.parent / "agent.sh"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    return folder


def run(beatctl: Beatctl, folder: Path, *, cooldown: str = "700ms") -> str:
    """Run it to its end; its id. With the cooldown every best and score is in some export."""
    started = beatctl(
        *WORDS, "--cooldown", cooldown, "--agent", f"{folder.parent / 'agent.sh'} {{prompt_file}}", cwd=folder, expect=0
    )
    loop = str(started.json["id"])
    beatctl.until(loop, "its end", lambda status: status["state"] == "finished", cwd=folder, timeout_s=180)
    return loop


def is_all_there(receiver: Receiver, loop: str) -> bool:
    """Whether everything of a loop that has ended was received."""
    ended = any(span.name == "loop" for span in receiver.of_loop(loop))
    counted = sum(point.value for point in receiver.named("beatctl.iterations")) >= 4
    finished = receiver.value("beatctl.loops", beatctl__state="finished") == 1
    timed = sum(point.value for point in receiver.named("beatctl.agent.duration")) >= 3
    told = any(line.text.startswith("ended") for line in receiver.lines)
    return ended and counted and finished and timed and told and bool(receiver.named("temporal_request"))
