"""What a loop needs is taken away: it pauses, says what, and goes on after `resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.faults.machine import MINIMIZE, agent_runs
from tests.loops.conftest import Loops


def test_an_uninstalled_agent_and_a_folder_that_is_gone_pause_the_loop_and_cost_no_iteration(loops: Loops) -> None:
    repo = loops.repository
    log, script, away = repo.folder.parent / "log", repo.folder.parent / "agent.sh", repo.folder.with_name("away")
    uninstall = f"[ $i = 1 ] && mv {script} {script}.gone"
    move = f"[ $i = 2 ] && cd / && mv {repo.folder} {away}"
    agent = repo.agent(f"echo $i >> {log}; echo $((40 - $i)) > n; {uninstall}; {move}; exit 0")
    loop = loops.detached("lower n", *MINIMIZE, "-a", agent, "-n", "3")

    def paused(reason: str) -> Any:
        # From elsewhere: the folder may be gone.
        return loops.beatctl.until(
            loop, f"the pause for {reason}", lambda s: (s["state"], s["reason"]) == ("paused", reason), cwd=Path("/")
        )

    assert str(script) in paused("agent-gone")["detail"]
    script.with_name("agent.sh.gone").rename(script)
    loops.do("resume", loop)
    assert str(repo.folder) in paused("folder-gone")["detail"]
    away.rename(repo.folder)
    loops.do("resume", loop)
    status = loops.finished(loop)
    assert agent_runs(log) == ["1", "2", "3"]
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "keep", "keep", "keep"]
    assert (status["best"]["score"], repo.read("n")) == (37, "37\n")
