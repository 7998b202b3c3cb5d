"""A loop of thousands of iterations costs at its end what it cost at its beginning, wherever that could go wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.prompt_memory import most_rows
from beatctl.cli.lineage import kept
from beatctl.cli.loops import Loops as Home
from tests.loops.conftest import Loops
from tests.loops.nights import night
from tests.support import Beatctl, wait_until

MINIMIZE = ("--eval", "cat n", "--minimize")
MOST_EVENTS = 5000
MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Run:
    """One run of a loop's chain, as the server describes it."""

    events: int
    size: int
    memo: dict[str, Any]


def chain(loops: Loops, loop: str, least: int) -> list[Run]:
    """The runs of a loop's chain, of which there have to be `least`."""

    async def look() -> list[Run]:
        client = await loops.beatctl.client()
        runs = []
        async for found in client.list_workflows(f"WorkflowId = 'beatctl-{loop}'"):
            run = await client.get_workflow_handle(found.id, run_id=found.run_id).describe()
            info = run.raw_description.workflow_execution_info
            runs.append(Run(info.history_length, info.history_size_bytes, dict(await run.memo())))
        return runs if len(runs) >= least else []

    return wait_until(lambda: asyncio.run(look()), f"{least} runs of the chain")


def test_every_run_of_a_long_loops_chain_stays_short_and_no_row_is_lost(own_loops: Loops) -> None:
    loops = own_loops
    agent = loops.repository.agent("echo tried $i")
    count = 160  # with the length at which a run hands over as it is
    words = ("-a", agent, "-n", str(count), "--max-unchanged", "0", "--memory-budget", "1k")
    status = loops.start("lower n", *MINIMIZE, *words, expect=1, timeout_s=600)
    loop = status["id"]
    assert [row["iteration"] for row in loops.rows(loop)] == list(range(count + 1))
    runs = chain(loops, loop, 3)
    assert max(run.events for run in runs) < MOST_EVENTS
    assert max(run.size for run in runs) < MOST_BYTES
    told = [(run.memo["goal"], run.memo["directory"]) for run in runs]
    assert told == [("lower n", str(loops.repository.folder))] * len(runs)
    prompts = sorted(loops.beatctl.home.glob(f"loops/{loop}/runs/{count}/**/*prompt.md"))
    text = prompts[0].read_text()
    assert "lower n" in text
    assert f"and {count - 1 - most_rows(1000)} older ones" in text
    assert len(text) < 4000 + 1000


def test_a_run_whose_activities_carry_much_hands_over_before_its_history_is_large(own_loops: Loops) -> None:
    loops = own_loops
    agent = loops.repository.agent("true")
    evaluator = f"cat n # {'a long command line ' * 1500}"
    words = ("--eval", evaluator, "--minimize", "-a", agent, "-n", "45", "--max-unchanged", "0")
    loop = loops.start("lower n", *words, expect=1, timeout_s=600)["id"]
    runs = chain(loops, loop, 2)
    assert max(run.size for run in runs) < MOST_BYTES
    assert max(run.events for run in runs) < 1000, "they did not hand over for their size"


@pytest.mark.own_server("on a shared server these commands tell of the loops of every host")
def test_commands_that_show_how_a_loop_stands_read_none_of_its_thousands_of_rows(beatctl: Beatctl, place: Path) -> None:
    night(beatctl.home, "k3f9", 5000)
    rows = beatctl("show", "k3f9", "--json", cwd=place, expect=0).json
    assert [row["iteration"] for row in rows] == list(range(5001))
    assert len(beatctl("show", "k3f9", cwd=place, expect=0).stdout.splitlines()) == 5001
    expected = [beatctl(*words, cwd=place, expect=0).stdout for words in (["list"], ["status", "k3f9"])]
    # With every row but the last unreadable, whoever reads one fails.
    ledger = Ledger(beatctl.home / "ledger.db")
    with ledger._transaction() as db:
        db.execute("update rows set row = '\"unreadable\"' where iteration < 5000")
    assert [beatctl(*words, cwd=place, expect=0).stdout for words in (["list"], ["status", "k3f9"])] == expected
    beatctl("list", "--json", cwd=place, expect=0)
    beatctl("status", "k3f9", "--json", cwd=place, expect=0)
    assert beatctl("show", "k3f9", cwd=place).exit_code != 0


def test_what_a_loop_kept_is_found_by_reading_that_alone(beatctl: Beatctl, place: Path) -> None:
    night(beatctl.home, "k3f9", 5000)
    ledger = Ledger(beatctl.home / "ledger.db")
    with ledger._transaction() as db:
        db.execute("update rows set row = '\"unreadable\"' where iteration % 50 != 0")
    home = Home(beatctl.environ)
    found = kept(home.status("k3f9"), home.rows_by_number("k3f9"))
    assert [rows[0].iteration for rows in found] == list(range(50, 5001, 50))
