"""A loop of three iterations whose second candidate is worse and whose third agent crashes: keep, discard, crash."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import Beatctl
from tests.telemetry.receiver import Receiver

HOST = "build-2"
SETTINGS = {
    "BEATCTL_HOST": HOST,
    "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue%20whales",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
}
"""Beside where it is sent to."""
GOAL = "make the number of wombats smaller"
AGENT = """#!/bin/sh
case $BEATCTL_ITERATION in
  1) echo 40 > n ;;
  2) echo 45 > n ;;
  3) echo 'the ocelots have failed' >&2; exit 7 ;;
esac
echo '{"type": "end", "said": "moved the marmots aside", "cost": 0.25, "in": 1000, "out": 200, "session": "s-1"}'
"""
CONFIG = """\
[agents.tinker]
command = "{program} {{prompt_file}}"
model = ["--model", "{{model}}"]

[agents.tinker.output]
match = {{ type = "end" }}
message = "said"
cost = "cost"
input_tokens = "in"
output_tokens = "out"
session = "session"
"""
WORDS = (
    *("start", GOAL, "--eval", "cat n; : pangolins", "--minimize", "--check", "test -s n", "--memory", "none"),
    *("--agent", "tinker", "-m", "small", "-n", "3", "--max-failures", "0", "--max-unchanged", "0", "-d", "--json"),
)


def repository(folder: Path, environ: dict[str, str]) -> Path:
    """A git repository with the file that is to become smaller, and beside it the agent with its configuration."""
    folder.mkdir()
    (folder / "n").write_text("50\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, env=environ, check=True, capture_output=True)
    agent = folder.with_name("tinker.sh")
    agent.write_text(AGENT)
    agent.chmod(0o755)
    folder.with_name("config.toml").write_text(CONFIG.format(program=agent))
    return folder


def run(beatctl: Beatctl, folder: Path, *, cooldown: str = "700ms") -> str:
    """Run it to its end; its id. With the cooldown every best and score is in some export."""
    config = {"BEATCTL_CONFIG": str(folder.with_name("config.toml"))}
    started = beatctl(*WORDS, "--cooldown", cooldown, cwd=folder, env=config, expect=0)
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
