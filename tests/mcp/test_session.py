"""The official client, the real server, worker and agents: what an agent can do with beatctl, and what it is told."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Mark, Row, Status, timestamp
from beatctl.cli.mcp.server import TOOLS
from beatctl.workflows.spec import Limits
from tests.loops.conftest import Repository
from tests.mcp.conftest import Agent
from tests.support import Beatctl, wait_until

pytestmark = pytest.mark.xdist_group("mcp")

LARGEST = 60_000
"""Bytes of the largest result there may be: each agent reads all of it."""


def lowering(repository: Repository, more: str = "") -> str:
    """An agent that takes one off `n`; `more` is shell."""
    return repository.agent(f'echo $(( $(cat n) - 1 )) > n\n{more}\necho "lowered it, try $i"')


def test_an_agent_finds_the_tools_knows_which_are_harmless_and_sees_what_each_field_is(agent: Agent) -> None:
    async def listed() -> Any:
        return await agent.client.list_tools()

    tools = {tool.name: tool for tool in agent.portal.call(listed).tools}
    assert list(tools) == [tool.name for tool in TOOLS]
    reads = {name for name, tool in tools.items() if tool.annotations.read_only_hint}
    assert reads == {"list_loops", "loop_status", "wait_for_loop", "show_iteration", "loop_diff", "loop_report"}
    destroys = {name for name, tool in tools.items() if tool.annotations.destructive_hint}
    assert destroys == {"start_loop", "cancel_loop", "apply_loop"}
    for name, tool in tools.items():
        assert len(tool.description) > 80, name
        assert tool.output_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        for field, schema in tool.input_schema["properties"].items():
            assert len(schema["description"]) > 15, f"{name}: {field}"
    required = {name for name, tool in tools.items() if "loop" in tool.input_schema.get("required", [])}
    assert required == {"cancel_loop", "apply_loop"}
    assert "start_loop" in (agent.client.instructions or "")


def test_an_agent_takes_a_loop_from_its_start_to_commits(agent: Agent) -> None:
    repository = agent.repository
    go_on = repository.folder.parent / "go-on"
    big = "seq -f 'a rather long line with the number %g' 3000 > big.txt; seq 9000"
    script = lowering(repository, f"{big}\nuntil [ -e {go_on} ]; do sleep 0.05; done")
    started = agent.call(
        "start_loop", goal="lower n", eval="seq 9000; cat n", direction="minimize", agent=script, max_iterations=2
    )
    loop = started["loop"]["id"]
    assert started["loop"]["directory"] == str(repository.folder)
    assert "iterations 2, failures in a row 3" in started["limits"]
    assert "it may do what your account may" in started["agent"]
    assert loop in agent.refused("start_loop", goal="lower n", eval="cat n", direction="minimize", agent=script)
    assert "is not over" in agent.refused("apply_loop", loop=loop, branch="less")

    heard: list[tuple[float, float | None, str]] = []

    def told(done: float, of: float | None, text: str) -> None:
        heard.append((done, of, text))
        if "iteration 0 of 2, 50 (the baseline)" in text:
            go_on.touch()  # only a client that is told of progress gets any further

    first = agent.call("wait_for_loop", until=["best"], since=0, told=told)
    assert first["happened"] == "best"
    assert heard[-1][1] == 2
    assert all(one[0] < other[0] for one, other in pairwise(heard))
    ended = agent.call("wait_for_loop", loop=loop[:3])
    assert (ended["happened"], ended["loop"]["outcome"]) == ("end", "improved")
    assert ended["loop"]["best"]["score"] == 48
    assert f"apply_loop {loop}" in ended["next"]

    report = agent.call("loop_report")["report"]
    assert (report["outcome"], report["reason"]) == ("improved", "max-iterations")
    assert f"apply_loop {loop} `branch` NAME" in [one["command"] for one in report["next"]]
    assert [kept["after"] for kept in report["kept"]] == [49, 48]
    shown = agent.call("show_iteration", iteration=1, prompt=True)
    assert shown["rows"][0]["summary"] == "lowered it, try 1"
    assert "Score to beat: 50" in shown["text"]
    assert f"loop_diff {loop} with `iteration` 1" in shown["text"] + str(shown["next_offset"])
    assert Path(shown["rows"][0]["logs"]).is_dir()

    parts, offset = [], 0
    while offset is not None:
        part = agent.call("loop_diff", loop=loop, offset=offset, max_chars=50_000)
        assert len(part["diff"]) <= 50_000
        parts.append(part["diff"])
        offset = part["next_offset"]
    assert len(parts) == 3
    assert "".join(parts).rstrip() == repository.git("diff", part["before"], part["after"])
    assert (part["paths"], part["total_chars"]) == (["big.txt", "n"], len("".join(parts)))

    head = repository.git("rev-parse", "HEAD")
    applied = agent.call("apply_loop", loop=loop, branch="less")["applied"]
    assert [commit["iterations"] for commit in applied["commits"]] == [[1], [2]]
    assert (repository.git("rev-parse", "less"), head) == (applied["commits"][1]["commit"], applied["from"])
    assert repository.git("rev-parse", "HEAD", "--abbrev-ref", "HEAD").split() == [head, "main"]


def test_a_loop_is_steered_from_the_other_side_of_the_protocol(agent: Agent, repository: Repository) -> None:
    here = str(repository.folder)
    script = repository.agent("sleep 300")
    started = agent.call(
        "start_loop", goal="pass", until="false", agent=script, directory=here, max_duration="2h", max_cost=1.5
    )
    loop = started["loop"]["id"]
    assert any("does not tell what a run costs" in warning for warning in started["warnings"])
    assert (started["loop"]["limits"]["for_s"], started["loop"]["limits"]["max_cost_usd"]) == (7200.0, 1.5)
    assert agent.call("wait_for_loop", directory=here, timeout_s=0)["happened"] == "timeout"
    assert [note["text"] for note in agent.call("add_note", directory=here, text="try X")["loop"]["notes"]] == ["try X"]
    assert agent.call("add_note", directory=here, clear=True)["loop"]["notes"] == []
    changed = agent.call("set_limits", directory=here, max_iterations=4, cooldown="30s")
    assert (changed["loop"]["limits"]["max_iterations"], changed["loop"]["limits"]["cooldown_s"]) == (4, 30.0)
    changed = agent.call("set_limits", loop=loop, more_iterations=3)
    assert "iterations 4 → 7" in changed["now"]
    assert agent.call("pause_loop", directory=here)["loop"]["asked"] == "pause"
    assert "goes on" in agent.call("resume_loop", directory=here)["now"]
    assert agent.call("loop_status", directory=here)["stuck"] == ""
    assert agent.call("stop_loop", directory=here)["loop"]["asked"] == "stop"
    gone = agent.call("cancel_loop", loop=loop)["loop"]
    assert (gone["state"], gone["outcome"]) == ("finished", "cancelled")
    assert "has ended already" in agent.call("cancel_loop", loop=loop)["now"]
    assert agent.call("list_loops", directory=here, only_here=True)["loops"][0]["id"] == loop


def test_a_call_that_is_given_up_ends_and_the_session_goes_on(agent: Agent, repository: Repository) -> None:
    here = str(repository.folder)
    script = repository.agent("sleep 300")
    loop = agent.call("start_loop", goal="pass", until="false", agent=script, directory=here)["loop"]["id"]
    heard: list[str | None] = []

    async def wait() -> Any:
        async def told(progress: float, total: float | None, message: str | None) -> None:
            heard.append(message)

        arguments = {"loop": loop, "timeout_s": 3600}
        return await agent.client.call_tool("wait_for_loop", arguments, progress_callback=told)

    given_up = agent.portal.start_task_soon(wait)
    wait_until(lambda: heard, "the first word of progress")
    given_up.cancel()
    assert agent.call("cancel_loop", loop=loop)["loop"]["outcome"] == "cancelled"


def test_a_dry_run_measures_and_starts_nothing(agent: Agent, repository: Repository) -> None:
    here = str(repository.folder)
    tried = agent.call(
        "start_loop",
        goal="lower n",
        eval="cat n; echo x > left",
        direction="minimize",
        agent=lowering(repository),
        directory=here,
        dry_run=True,
    )
    assert tried["loop"] is None
    assert tried["dry_run"]["problem"] is not None or tried["dry_run"]["score"]["median"] == 50
    assert "lower n" in tried["dry_run"]["prompts"][0]
    assert not (repository.folder / "left").exists()
    assert agent.call("list_loops", directory=here, only_here=True)["total"] == 0


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("start_loop", {"goal": "x"}, "Add `until` CMD"),
    ("start_loop", {"goal": "x", "eval": "cat n"}, '`direction: "minimize"` or `direction: "maximize"`'),
    ("start_loop", {"goal": "x", "until": "true", "eval": "cat n"}, "Give `until` or `eval`, not both"),
    ("start_loop", {"gaol": "x"}, "takes no `gaol`. Did you mean `goal`?"),
    ("start_loop", {"goal": "x", "eval": "cat n", "direction": "down"}, "Input should be 'minimize' or 'maximize'"),
    ("start_loop", {"goal": "x", "until": "true", "max_iterations": -1}, "`max_iterations` can't be -1"),
    ("start_loop", {"goal": "x", "until": "true", "max_iterations": 10**15}, "`max_iterations` 1000000000000000 is"),
    ("start_loop", {"goal": "x", "until": "true", "max_duration": "90"}, "`max_duration` 90 needs a unit: 90s"),
    (
        "start_loop",
        {"goal": "x", "until": "true", "target": "low"},
        "as a number; or: Input should be 'none'",
    ),
    ("start_loop", {"goal": "x", "until": "true", "target": 3}, "`target` goes with `eval`"),
    ("start_loop", {"goal": "x", "until": "true", "setup": "npm ci"}, "`setup` goes with `worktree: true`"),
    ("start_loop", {"goal": "x", "until": "true", "steps": ["one"]}, "A pipeline has 2 to 20 steps"),
    ("start_loop", {"goal": "x", "until": "true", "agent": "no-such-agent {prompt}"}, "no-such-agent"),
    ("start_loop", {"goal": "x", "until": "true", "agent": "cat", "permissions": "full"}, "full_permissions_agreed"),
    ("start_loop", {"goal": "x", "until": "true", "agent": "cat", "agent_args": "--yolo"}, "permit the agent anything"),
    ("start_loop", {"goal": "x", "until": "true", "directory": "here"}, "absolute path"),
    ("start_loop", {"goal": "x", "until": "true", "directory": "/no/such"}, "There is no folder /no/such. `directory`"),
    ("start_loop", {"goal": "x", "until": "true", "directory": "/"}, "/"),
    ("loop_status", {"loop": "zzzz9"}, 'No loop "zzzz9". There are:\n  '),
    ("loop_status", {"directory": "/no/such"}, "Name one:\n  "),
    ("wait_for_loop", {"timeout_s": 10**6}, "less than or equal to 3600"),
    ("wait_for_loop", {"until": ["dinner"]}, "'end', 'pause', 'limit'"),
    ("show_iteration", {"loop": "LOOP", "iteration": 77}, "has no iteration 77. There are 0 to 1."),
    ("loop_diff", {"loop": "LOOP", "max_chars": 1}, "greater than or equal to 100"),
    ("list_loops", {"limit": 500}, "less than or equal to 30"),
    ("list_loops", {"after": "nope"}, 'No loop "nope" in this list.'),
    ("pause_loop", {"loop": "LOOP"}, "has ended (improved): there is nothing to pause. To go on with it: resume_loop"),
    ("add_note", {"loop": "LOOP"}, "either `text`"),
    ("add_note", {"loop": "LOOP", "text": "x"}, "`more_iterations` 10"),
    ("set_limits", {"loop": "LOOP"}, "Which limit?"),
    ("set_limits", {"loop": "LOOP", "max_iterations": 3, "more_iterations": 1}, "give one of them"),
    ("resume_loop", {"loop": "LOOP"}, "Allow more: resume_loop"),
    ("cancel_loop", {}, "cancel_loop needs `loop`."),
    ("apply_loop", {"branch": "b"}, "never guessed"),
    ("apply_loop", {"loop": "LOOP"}, "`branch` NAME makes a new branch"),
    ("apply_loop", {"loop": "LOOP", "only": [5], "branch": "b"}, "#5 is not there. Loop LOOP kept #1."),
    ("stop_loops", {}, "Did you mean stop_loop?"),
]


COMMAND = re.compile(r"\bbeatctl (?!in )[a-z]+")
"""What a person would type, which helps no agent."""


def test_a_call_that_cannot_be_done_is_refused_with_what_to_do_instead(agent: Agent, repository: Repository) -> None:
    here = {"directory": str(repository.folder)}
    started = agent.call(
        "start_loop", goal="x", eval="cat n", direction="minimize", agent=lowering(repository), max_iterations=1, **here
    )
    loop = started["loop"]["id"]
    agent.call("wait_for_loop", **here)
    for tool, arguments, words in WRONG:
        arguments = {name: loop if value == "LOOP" else value for name, value in arguments.items()}
        told = agent.refused(tool, **({} if tool in ("loop_status", "stop_loops") else here) | arguments)
        assert words.replace("LOOP", loop) in told, (tool, arguments, told)
        assert " --" not in told, told
        assert not COMMAND.search(told), told
    assert agent.call("list_loops", only_here=True, **here)["total"] == 1
    assert repository.git("branch", "--list", "b") == ""
    again = agent.call("resume_loop", loop=loop, more_iterations=1)
    assert again["now"].startswith(f"{loop} goes on from its best, 49 #1")
    assert agent.call("wait_for_loop", **here)["loop"]["best"]["score"] == 48


def test_hundreds_of_experiments_with_long_texts_come_in_parts_an_agent_can_read(
    agent: Agent, shared_beatctl: Beatctl, place: Path
) -> None:
    here = place / "elsewhere"
    here.mkdir()
    ledger = Ledger(shared_beatctl.home / "ledger.db")
    now = time.time()
    long = "a long text, " * 4_000
    for number in range(12):
        status = Status(
            id=f"long{number}",
            goal=long,
            strategy="optimize",
            state="finished",
            outcome="improved",
            reason="plateau",
            iteration=300,
            baseline=Mark(iteration=0, score=900.0),
            best=Mark(iteration=300, score=600.0),
            directory=str(here),
            worktree=str(here),
            detail=long,
            limits=Limits().model_dump(),
            ended_at=timestamp(now),
        )
        assert ledger.add_loop(status, "{}", now - 10_000 + number)
    rows = [
        Row(
            iteration=number,
            verdict="keep" if number else "baseline",
            score=900.0 - number,
            started_at=timestamp(now),
            duration_s=1.0,
            parent=number - 1 if number else None,
            summary=long,
            reason=long,
        )
        for number in range(301)
    ]
    loop = ledger.status("long0")
    assert loop is not None
    ledger.write(loop.model_copy(update={"version": 1}), *rows)
    directory = str(here)
    assert len(json.dumps(agent.call("loop_status", loop="long0"))) < LARGEST
    report = agent.call("loop_report", loop="long0")
    assert len(json.dumps(report)) < LARGEST
    assert (report["cut"]["kept"], report["report"]["kept"][-1]["iteration"]) == (300, 300)
    assert len(json.dumps(agent.call("show_iteration", loop="long0", iteration=7))) < LARGEST
    numbers: list[int] = []
    after: dict[str, int] = {}
    while True:
        page = agent.call("show_iteration", loop="long0", limit=50, **after)
        assert len(json.dumps(page)) < LARGEST
        numbers += [row["iteration"] for row in page["rows"]]
        if page["next_after"] is None:
            break
        after = {"after": page["next_after"]}
    assert numbers == list(range(300, -1, -1))
    first = agent.call("list_loops", directory=directory, only_here=True, limit=10)
    assert len(json.dumps(first)) < LARGEST
    rest = agent.call("list_loops", directory=directory, only_here=True, after=first["next_after"])
    ids = [loop["id"] for loop in first["loops"] + rest["loops"]]
    assert (ids, rest["next_after"]) == ([f"long{number}" for number in range(11, -1, -1)], None)


def test_the_wire_carries_nothing_but_the_protocol(agent: Agent) -> None:
    agent.call("list_loops")
    agent.refused("loop_status", loop="zzzz9")

    def lines() -> list[bytes]:
        return agent.wire.read_bytes().splitlines()

    wait_until(lambda: len(lines()) >= 2, "the server's answers")
    for line in lines():
        assert json.loads(line)["jsonrpc"] == "2.0"
