"""A home that an earlier version left: everything in it is there for the new one, and its loops go on."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities import ledger_versions as ledgers
from beatctl.activities.ledger import Ledger
from beatctl.activities.old_runs import flatten
from beatctl.activities.records import Row, Status, timestamp
from beatctl.activities.run_files import tries_in
from beatctl.activities.workspace.files import write_note
from beatctl.activities.workspace.problems import WorkspaceProblem
from beatctl.activities.workspace.state import VERSION, State, bring_up_to_date
from tests.support import Beatctl
from tests.upgrades.old_homes import HOMES, unpack

NAMES = sorted(path.name.removesuffix(".tar.gz") for path in HOMES.glob("*.tar.gz"))
ROWS = {
    "lower n": ["baseline", "keep", "discard", "crash", "keep", "keep"],
    "make it zero": ["baseline", "fail", "fail"],
    "in two steps": ["baseline", "keep", "discard"],
    "cancelled on the way": ["baseline", "keep", "crash"],
    "outside git": ["baseline", "keep"],
    "paused for the night": ["baseline", "keep"],
}


def version_of(ledger: Path) -> int:
    connection = sqlite3.connect(ledger)
    version = int(connection.execute("pragma user_version").fetchone()[0])
    connection.close()
    return version


@pytest.mark.parametrize("name", NAMES)
def test_every_loop_of_an_earlier_version_is_listed_shown_reported_and_goes_on(
    name: str, beatctl: Beatctl, place: Path
) -> None:
    unpack(name, place)
    listed = {loop["goal"]: loop for loop in beatctl("list", "--json", cwd=place, expect=0).json}
    assert set(listed) == set(ROWS)
    newest = place / "fresh"
    Ledger(newest).status("")
    assert version_of(beatctl.home / "ledger.db") == version_of(newest)
    for goal, verdicts in ROWS.items():
        loop = listed[goal]["id"]
        rows = beatctl("show", loop, "--json", cwd=place, expect=0).json
        assert [row["verdict"] for row in rows] == verdicts
        shown = beatctl("show", loop, "1", "--prompt", cwd=place, expect=0).stdout
        assert "are gone" not in shown
        assert "## How this is judged" in shown, "the prompt of its first agent"
        assert goal in beatctl("report", loop, cwd=place, expect=0).stdout
        assert "-" in beatctl("diff", loop, "1", cwd=place, expect=0).stdout

    optimize = listed["lower n"]
    done = resumed(beatctl, place / "optimize", optimize["id"])
    assert (done["best"]["score"], done["iteration"], done["reason"]) == (46, 6, "max-iterations")
    assert (place / "optimize" / "n").read_text() == "46\n"
    beatctl("undo", optimize["id"], cwd=place, expect=0)
    assert (place / "optimize" / "n").read_text() == "50\n"
    assert (place / "optimize" / "mine").read_text() == "not committed\n"

    retry = resumed(beatctl, place / "retry", listed["make it zero"]["id"], expect=1)
    assert (retry["outcome"], retry["iteration"], (place / "retry" / "n").read_text()) == ("failed", 3, "49\n")

    # Its server is gone: what it was doing is known all the same, and it is taken from there.
    paused = listed["paused for the night"]
    assert (paused["state"], paused["notes"][0]["text"]) == ("paused", "mind the gap")
    beatctl("cancel", paused["id"], cwd=place, expect=(0, 4))
    done = resumed(beatctl, place / "paused", paused["id"], "-n", "2", "--cooldown", "0")
    assert (done["iteration"], done["best"]["score"]) == (2, 49)


def resumed(beatctl: Beatctl, folder: Path, loop: str, *words: str, expect: int = 0) -> Any:
    """Go on for one iteration more."""
    return beatctl("resume", loop, *(words or ("-n", "+1")), "--json", cwd=folder, expect=expect).json


def test_a_ledger_of_a_newer_version_is_refused_in_words_and_left_alone(beatctl: Beatctl, place: Path) -> None:
    unpack(NAMES[0], place)
    ledger = beatctl.home / "ledger.db"
    connection = sqlite3.connect(ledger)
    connection.execute("pragma user_version = 99")
    connection.close()
    before = ledger.read_bytes()
    for words in (["list"], ["status"], ["show", "--json"], []):
        done = beatctl(*words, cwd=place / "optimize", expect=3)
        assert "was written by a newer beatctl (ledger version 99" in done.stderr
        assert "Traceback" not in done.stderr
    assert ledger.read_bytes() == before


def test_two_that_open_an_old_ledger_at_once_bring_it_up_to_date_once(place: Path) -> None:
    ledger = unpack(NAMES[0], place) / "ledger.db"
    with ThreadPoolExecutor(16) as many:
        counts = list(many.map(lambda _: len(Ledger(ledger).statuses()), range(64)))
    assert counts == [len(ROWS)] * 64


def test_the_files_of_old_runs_are_all_there_however_often_their_move_is_cut_short(place: Path) -> None:
    loops = unpack(NAMES[0], place) / "loops"
    folder = next(iter(loops.glob("*/runs/5/agent"))).parent
    before = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"agent/prompt.md", "agent/try-1/stdout", "check/try-1/result.json"} <= before
    said = (folder / "agent/try-1/stdout").read_text()
    once = next(iter(loops.glob("*/runs/1/evaluator/try-1")))
    (once / "stdout").rename(once.parent.parent / "evaluator.1.stdout")  # as a move that was cut short leaves it
    running = next(iter(loops.glob("*/runs/2/evaluator/try-1/result.json")))
    running.unlink()  # its shim lives: it goes on in its own folder
    damaged = next(iter(loops.glob("*/runs/3/agent/try-1/spec.json")))
    damaged.write_text("{")
    for _ in range(2):
        flatten(loops)
    assert (folder / "agent.1.stdout").read_text() == said
    assert (folder / "agent.prompt.md").exists()
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    (one,) = [one for one in tries_in(folder) if one.run.name == "agent"]
    ended = one.ended()
    assert ended is not None
    assert (ended["exit_code"], one.began > 1e9) == (0, True)
    assert not once.exists()
    assert running.parent.is_dir()
    assert damaged.parent.joinpath("stdout").exists()


def test_a_migration_that_fails_half_way_leaves_the_ledger_as_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = unpack(NAMES[0], place) / "ledger.db"
    Ledger(ledger).status("")
    version, dump = version_of(ledger), _dump(ledger)

    def first_half(db: sqlite3.Connection, home: Path) -> None:
        db.execute("alter table rows add column halfway text")
        db.execute("update loops set status = ''")

    def second_half(db: sqlite3.Connection, home: Path) -> None:
        db.execute("insert into no_such_table values (1)")

    monkeypatch.setattr(ledgers, "_MIGRATIONS", [*ledgers._MIGRATIONS, first_half, second_half])
    with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
        Ledger(ledger).status("")
    assert (version_of(ledger), _dump(ledger)) == (version, dump)
    monkeypatch.setattr(ledgers, "_MIGRATIONS", [*ledgers._MIGRATIONS[:-2], first_half])
    assert Ledger(ledger).spec("none") is None
    assert version_of(ledger) == version + 1


def test_a_worker_of_the_version_before_writes_on_after_a_column_was_added(place: Path) -> None:
    old = Ledger(place / "ledger.db")
    status = _status()
    assert old.add_loop(status, "{}", 1.0)
    connection = sqlite3.connect(place / "ledger.db")
    for table in ("rows", "loops"):
        connection.execute(f"alter table {table} add column later text not null default ''")
    connection.execute("pragma user_version = 99")
    connection.close()
    row = Row(iteration=0, verdict="baseline", started_at=timestamp(1), duration_s=1)
    old.write(status, row)
    assert old.add_loop(status.model_copy(update={"id": "other"}), "{}", 2.0)
    assert old.rows("loop") == [row]


def test_a_workspace_of_an_older_version_is_migrated_step_by_step_and_a_newer_one_refused(place: Path) -> None:
    def second(place: Path, data: dict[str, Any]) -> None:
        data["steps"].append(2)

    def third(place: Path, data: dict[str, Any]) -> None:
        data["steps"].append(3)

    for found, steps in ((1, [2, 3]), (2, [3]), (3, [])):
        data: dict[str, Any] = {"version": found, "steps": []}
        bring_up_to_date(place, data, [second, third])
        assert data == {"version": 3, "steps": steps}
    newer = {"version": VERSION + 1, "number": 1}
    write_note(place / "state-1", newer)
    with pytest.raises(WorkspaceProblem, match="written by a newer beatctl"):
        State.read(place)


def test_whoever_changes_the_workspaces_state_also_gives_it_a_version() -> None:
    """On a failure here: raise the version by a migration (see state.py), then add a line of the new fields."""
    known = {
        1: "root loop object_format baseline known common last index hot closed guards warnings own_worktree version "
        "restored_at number"
    }
    assert " ".join(field.name for field in fields(State)) == known[VERSION]


def _status() -> Status:
    return Status(id="loop", goal="goal", strategy="retry", state="running", directory="/")


def _dump(ledger: Path) -> list[str]:
    connection = sqlite3.connect(ledger)
    dump = list(connection.iterdump())
    connection.close()
    return dump
