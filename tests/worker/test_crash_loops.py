"""A server or worker that ends again and again: tried later and later, told everywhere, back as soon as it can be."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.ledger import Ledger
from beatctl.activities.records import Status
from beatctl.worker import backoff, what_runs
from beatctl.worker.backoff import CrashLoop, End
from beatctl.worker.run_folder import RunFolder, read_json
from tests.support import Beatctl, wait_until


def ends(*served: float | None, killed: bool = False, every_s: float = 10.0) -> list[End]:
    return [End(place * every_s, seconds, killed) for place, seconds in enumerate(served)]


def test_a_first_end_costs_no_wait_and_many_never_more_than_a_minute() -> None:
    delays = [backoff.delay(ends(*[None] * count)) for count in range(30)]
    assert delays[:5] == [0.0, 0.0, 0.2, 0.4, 0.8]
    assert delays == sorted(delays)
    assert delays[-1] == 60.0
    # A worker that somebody kills again and again is back within a second, whatever came before.
    assert backoff.delay(ends(*[None] * 30, killed=True)) == 1.0


def test_a_healthy_run_makes_the_next_end_an_accident() -> None:
    bad = [5.0] * 9
    assert backoff.delay(ends(*bad)) > 20
    assert backoff.delay(ends(*bad, 3600.0)) == 0.0
    assert backoff.delay(ends(*bad, 3600.0, None)) == 0.2
    assert backoff.habit(ends(*bad, 3600.0)) is None


@pytest.mark.parametrize(
    ("served", "killed", "told"),
    [
        ((None, None), False, None),
        ((None, None, None), False, "ends right after its start"),
        ((None, None, None), True, "is killed right after its start"),
        ((5.0,) * 4, False, None),
        ((5.0,) * 5, False, "ends again and again"),
        ((5.0,) * 5, True, "is killed again and again"),
        ((5.0, 5.0, None, 5.0, 5.0), False, "ends again and again"),
        ((5.0,) * 3 + (600.0, 5.0, 5.0), False, None),
        ((600.0, None, None, None), False, "ends right after its start"),
    ],
)
def test_a_habit_is_told_from_an_accident(served: tuple[float | None, ...], killed: bool, told: str | None) -> None:
    assert backoff.habit(ends(*served, killed=killed)) == told


def test_the_words_say_how_often_what_it_said_and_what_to_do() -> None:
    loop = CrashLoop(
        "worker", "ends right after its start", 6, 1000.0, 1120.0, 1160.0, False, "No module named pydantic", "/l/w.log"
    )
    assert backoff.words(loop, 1130.0) == (
        "The worker ends right after its start (6 times in 2 min; next try in 30 s). "
        'Its last words: "No module named pydantic". Log: /l/w.log; beatctl doctor'
    )
    assert "it is being started again" in backoff.words(loop, 1161.0)
    assert backoff.words_after(loop) == (
        'The worker had come to nothing 6 times. Its last words: "No module named pydantic". Log: /l/w.log'
    )


def test_last_words_can_not_take_over_the_terminal() -> None:
    assert backoff.last_line("first\n\x1b[2Jred\x07 alert\n\n") == " [2Jred  alert"
    assert len(backoff.last_line("x" * 1000)) == 300


def a_running_loop(home: Path, directory: Path) -> None:
    words: dict[str, Any] = {"id": "k3f9", "goal": "g", "strategy": "retry", "state": "running"}
    assert Ledger(home / "ledger.db").add_loop(Status.model_validate({**words, "directory": str(directory)}), "{}", 0.0)


def crash_loops(folder: RunFolder) -> list[CrashLoop]:
    return what_runs.crash_loops_in(folder.read_state())


def test_a_worker_that_can_not_stay_is_told_everywhere_tried_on_and_back_when_asked(
    beatctl: Beatctl, place: Path
) -> None:
    beatctl("up", "-d", cwd=place, expect=0)
    a_running_loop(beatctl.home, place)
    folder = RunFolder(beatctl.home, "embedded")
    # What a worker needs is in the way: a folder where it keeps its queue's name.
    queue = beatctl.home / "run" / "queue.json"
    kept = queue.read_bytes()
    queue.unlink()
    queue.mkdir()
    os.kill(read_json(folder.state)["worker_pid"], signal.SIGKILL)
    wait_until(lambda: [one for one in crash_loops(folder) if one.times >= 4], "the crash loop to be noticed")

    says = "The worker ends right after its start ("
    for words in (("status", "k3f9"), ("list",), (), ("doctor",)):
        done = beatctl(*words, cwd=place, expect=0)
        told = [line for line in (done.stdout + done.stderr).splitlines() if says in line]
        assert len(told) == 1, (words, done)
        assert "IsADirectoryError" in told[0]
        assert str(folder.worker_log) in told[0]
    doctor = beatctl("doctor", "--json", cwd=place, expect=0).json
    assert doctor["supervisor"]["crash_loops"][0]["what"] == "worker"
    assert says in folder.supervisor_log.read_text()

    # Whoever asks gets a try at once, and the reason where that fails, too.
    before = crash_loops(folder)[0].times
    refused = beatctl("up", "-d", cwd=place, expect=3)
    assert says in refused.stderr
    assert crash_loops(folder)[0].times > before
    assert folder.is_held(), "it does not give up"

    queue.rmdir()
    queue.write_bytes(kept)
    beatctl("up", "-d", cwd=place, expect=0)
    assert "it runs again at the moment" in beatctl("doctor", cwd=place, expect=0).stdout

    down = beatctl("down", cwd=place, expect=0).stdout
    assert "The worker had come to nothing" in down
    assert "Waiting until beatctl up: k3f9" in down


def test_a_server_that_does_not_come_back_is_told_with_its_own_words(
    beatctl: Beatctl, place: Path, script: Callable[[str, str], Path]
) -> None:
    program = beatctl.environ["BEATCTL_TEMPORAL_CLI"]
    broken = place / "broken"
    fragile = script(
        "fragile", f'[ -e "{broken}" ] && {{ echo "no space left on disk" >&2; exit 1; }}\nexec "{program}" "$@"'
    )
    beatctl.environ["BEATCTL_TEMPORAL_CLI"] = str(fragile)
    beatctl("up", "-d", cwd=place, expect=0)
    folder = RunFolder(beatctl.home, "embedded")
    broken.touch()
    os.kill(read_json(folder.state)["server_pid"], signal.SIGKILL)
    found = wait_until(lambda: crash_loops(folder), "the crash loop to be noticed")
    assert (found[0].what, found[0].said) == ("Temporal server", "no space left on disk")
    assert not read_json(folder.state)["ready"]
    broken.unlink()
    wait_until(lambda: read_json(folder.state)["ready"], "the server to come back by itself")
