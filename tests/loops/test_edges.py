"""The worker dies before and after each step that a loop takes only now and then; the chaos run has the others."""

from __future__ import annotations

import pytest

from tests.loops.conftest import Loops
from tests.support import wait_until

STEPS = ("open_workspace", "restore_workspace", "close_workspace", "reopen_workspace")


@pytest.mark.timeout(600)
def test_a_worker_killed_while_it_opens_puts_back_or_closes_costs_no_run_and_no_file(own_loops: Loops) -> None:
    loops, repo = own_loops, own_loops.repository
    fired = repo.folder.parent / "fired"
    fired.mkdir()
    edges = [f"{side}:{step}" for step in STEPS for side in ("before", "after")]
    loops.beatctl.environ["BEATCTL_FAULT"] = ",".join(f"{edge}@{fired / edge}" for edge in edges)
    log = repo.folder.parent / "log"
    # The first candidate has no score, so that the best is put back and measured again.
    agent = repo.agent(f"echo $i >> {log}; [ $i -gt 1 ] || touch broken; echo $((40 - $i)) > n; echo $i > new-$i")
    repo.write("mine", "not committed\n")
    evaluate = ("--eval", "[ ! -e broken ] && cat n", "--minimize")
    loop = loops.detached("lower n", *evaluate, "-a", agent, "-n", "2")
    status = loops.finished(loop, timeout_s=300)
    first = {edge for edge in edges if "reopen" not in edge}
    wait_until(lambda: {path.name for path in fired.iterdir()} == first, "each edge to be met")
    assert (status["outcome"], status["best"]["score"]) == ("improved", 38)
    loops.do("resume", loop, "-n", "+1", "-d")
    status = loops.until(loop, "the end", lambda found: found["state"] == "finished" and found["iteration"] == 3, 150)
    wait_until(lambda: {path.name for path in fired.iterdir()} == set(edges), "each edge to be met")
    assert log.read_text().split() == ["1", "2", "3"]
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "crash", "keep", "keep"]
    assert status["best"]["score"] == 37
    assert repo.git("status", "--porcelain").split("\n") == ["M n", "?? mine", "?? new-2", "?? new-3"]
