"""Every kind of working copy comes back exactly after a discard, a crash and a cancel of a real loop."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.support import Beatctl, wait_until
from tests.workspace import fingerprint
from tests.workspace.copies import KINDS

PROJECT = Path(__file__).resolve().parents[2]
AGENT = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {project!r})
from tests.workspace import fingerprint
from tests.workspace.copies import Damage
root, out, iteration = Path.cwd(), Path({out!r}), os.environ["BEATCTL_ITERATION"]
(out / f"before-{{iteration}}.json").write_text(json.dumps(fingerprint.of(root)))
if iteration == "1":
    Damage.repository(root)
    Damage.files(root)
elif iteration == "2":
    Damage.repository_gone(root)
    sys.exit(7)
else:
    Damage.files(root)
    (out / "damaged").touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_as_before_after_discard_crash_and_cancel(
    kind: str, place: Path, shared_beatctl: Beatctl
) -> None:
    (place / "work").mkdir()
    root = KINDS[kind](_made(place / "work" / "root"))
    before = fingerprint.of(root)
    agent = place / "agent.py"
    agent.write_text(AGENT.format(project=str(PROJECT), out=str(place)))
    words = (
        "start",
        "x",
        "--eval",
        "echo 1",
        "--minimize",
        "-a",
        shlex.join([sys.executable, str(agent)]),
        "-d",
        "--json",
    )
    loop = shared_beatctl(*words, "--max-unchanged", "0", cwd=root, expect=0).json["id"]

    wait_until((place / "damaged").exists, "the third agent's damage")
    status = shared_beatctl("cancel", loop, "--json", cwd=root, expect=0).json

    assert status["outcome"] == "cancelled"
    rows = shared_beatctl("show", loop, "--json", cwd=root, expect=0).json
    assert [row["verdict"] for row in rows] == ["baseline", "discard", "crash", "crash"]
    for iteration, after in (("1", "the baseline"), ("2", "the discard"), ("3", "the crash")):
        then = json.loads((place / f"before-{iteration}.json").read_text())
        assert fingerprint.differences(before, then) == {}, f"after {after}"
    assert fingerprint.differences(before, fingerprint.of(root)) == {}, "after the cancel"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
