"""The live view's frames: what is in them at which size, for each kind of loop and each state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.records import Mark, Row, Status, Verdict, timestamp
from beatctl.activities.run_files import TryFiles
from beatctl.cli.live.frame import Look, frame, last_frame
from beatctl.cli.live.keys import Asked, Typing, keys
from beatctl.cli.live.notices import noticed
from beatctl.cli.live.seen import Running, Seen
from beatctl.cli.live.sparkline import ASCII_BARS, sparkline
from beatctl.cli.live.styled import ansi
from beatctl.cli.live.table import table
from beatctl.cli.output import say
from beatctl.workflows.spec import Limits

NO_FILES = TryFiles(Path("/none"), 1)
NOW = 1_700_000_000.0
WIDE = "ダッシュボードの読み込みを速くする 🎉 e\u0301 ❤\ufe0f 👩\u200d💻"


def status(**more: Any) -> Status:
    given: dict[str, Any] = {
        "id": "k3f9",
        "goal": "reduce bundle size of the dashboard module",
        "strategy": "optimize",
        "state": "running",
        "directory": "/work/project",
        "worktree": "/work/project",
        "limits": Limits(max_iterations=700, for_s=28800).model_dump(),
        "iteration": 212,
        "kept": 12,
        "best": Mark(iteration=187, score=171204),
        "baseline": Mark(iteration=0, score=239107),
        "elapsed_s": 5 * 3600 + 12 * 60,
        "cost_usd": 14.2,
        "counts": {"keep": 12, "discard": 200},
    }
    return Status(**{**given, **more})


def row(number: int, verdict: Verdict, score: float | None = None, **more: Any) -> Row:
    given: dict[str, Any] = {"started_at": timestamp(NOW - 100), "duration_s": 90.0, "parent": 187}
    return Row(iteration=number, verdict=verdict, score=score, **{**given, **more})


ROWS = (
    row(212, "discard", 172880, summary="lazy-load chart legend"),
    row(211, "tampered", reason="edited scripts/measure-bundle.js"),
    row(210, "crash", reason="build failed: Cannot find module './fmt'"),
    row(209, "inconclusive", reason=WIDE),
    *(
        row(number, "keep", 171204.0 + number, summary=f"experiment {number}" + WIDE * 3)
        for number in range(208, 8, -1)
    ),
)


def seen(**more: Any) -> Seen:
    scored = [239107.0 - 320 * step for step in range(212)]
    given: dict[str, Any] = {
        "status": status(),
        "bests": scored,
        "latest": ROWS,
        "scores": {187: 171204.0},
        "running": Running(213, "agent", "claude", NOW - 161, NO_FILES),
        "words": "replacing moment with date-fns in src/dashboard/range.ts",
    }
    return Seen(**{**given, **more})


def shown(what: Seen, columns: int = 80, lines: int = 24, **more: Any) -> list[str]:
    more.setdefault("keys", keys(what.status, ends_with_us=False))
    return [line.plain for line in frame(what, Look(columns=columns, lines=lines, **more), NOW)]


def retry(**more: Any) -> Seen:
    tries = [row(3, "crash", reason="exit code 1"), row(2, "fail", summary="renamed the fixture"), row(1, "fail")]
    given: dict[str, Any] = {"strategy": "retry", "best": None, "baseline": None, "iteration": 3, "cost_usd": 0}
    now = status(**{**given, "counts": {"fail": 2, "crash": 1}, "failures": 1, "goal": "fix the test", **more})
    return seen(status=now, bests=[], latest=tries, scores={}, running=None, words="")


KINDS = {
    "optimize": seen(),
    "retry": retry(),
    "pipeline": seen(
        running=Running(213, "agent-step2", "claude step 2", NOW - 5, NO_FILES), steps=["find it", WIDE, "mend it"]
    ),
    "paused": seen(status=status(state="paused", reason="edited", detail="You edited src/app.ts: paused. " * 8)),
    "waiting": seen(status=status(state="waiting", detail="claude's limit resets at 14:05 (in 32m)"), running=None),
    "nothing yet": Seen(status=status(best=None, baseline=None, iteration=0, kept=0, counts={}, cost_usd=0)),
    "wide": seen(status=status(goal=WIDE * 4), words=WIDE * 9),
    "finished": seen(status=status(state="finished", outcome="improved", reason="max-iterations")),
}


def test_the_view_is_as_drawn() -> None:
    assert shown(seen(latest=ROWS[:3])) == [
        " k3f9  reduce bundle size of the dashboard module               running  5h 12m",
        " best  171,204 #187 (-28.4%)    baseline 239,107    kept 12 of 212",
        f"       {sparkline(seen().bests, 72)}",
        " iter  213/700    $14.20    2h 48m left    failures 0/3",
        " now   #213 claude 2m 41s of 30m",
        "       | replacing moment with date-fns in src/dashboard/range.ts",
        " #212  discard   172,880  +1.0%  lazy-load chart legend",
        " #211  tampered        -         edited scripts/measure-bundle.js",
        " #210  crash           -         build failed: Cannot find module './fmt'",
        " This folder is in use until the loop ends (--worktree avoids that)",
        " p pause  s stop after this  n note  q detach  x cancel",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_no_line_is_wider_and_no_frame_is_higher_than_the_terminal(kind: str) -> None:
    for columns in (1, 2, 9, 20, 47, 79, 80, 100, 160):
        for height in (1, 2, 3, 8, 11, 24, 50):
            for question in ("", "Cancel k3f9 now? " * 9):
                look = Look(columns, height, keys=["p pause", "x cancel"], question=question, notices=[WIDE * 5])
                lines = frame(KINDS[kind], look, NOW)
                assert 1 <= len(lines) <= height
                assert all(line.cell_len <= columns for line in lines)
                assert not any("\n" in line.plain or "\x1b" in line.plain for line in lines)
                assert not question or height == 1 or lines[-1].plain.strip()[:1] in "C…"
                assert last_frame(KINDS[kind], look, NOW)


def test_a_larger_terminal_shows_more() -> None:
    small, large = shown(seen(), 80, 24), shown(seen(), 160, 50)
    assert (len(small), len(large)) == (24, 50)
    assert sum(line.startswith(" #") for line in large) - sum(line.startswith(" #") for line in small) == 26
    assert len(large[2]) > len(small[2]) > 70
    assert "…" in small[-4]


def test_what_matters_least_goes_first_when_the_terminal_is_low() -> None:
    def has(lines: int, words: str) -> bool:
        return any(words in line for line in shown(seen(), lines=lines))

    order = ["in use until", "▁", "replacing moment", "now   #213", "iter  ", "best  "]
    fits = [min(lines for lines in range(1, 30) if has(lines, words)) for words in order]
    assert fits == sorted(fits, reverse=True)
    assert has(1, "k3f9")
    assert has(3, "p pause")


def test_a_retry_loop_is_told_without_scores() -> None:
    lines = shown(retry())
    assert lines[1] == " tries not passed yet    2 fail, 1 crash"
    assert shown(retry(counts={}))[1] == " tries not passed yet"
    assert lines[2] == " iter  3/700    2h 48m left    failures 1/3"
    assert lines[4].split() == ["#3", "crash", "exit", "code", "1"]
    assert not any("▁" in line or " - " in line for line in lines)
    passed = shown(retry(best=Mark(iteration=4), state="finished", outcome="reached", reason="passed"))
    assert passed[1].startswith(" tries passed in #4")


def test_a_pipeline_shows_its_step() -> None:
    lines = shown(KINDS["pipeline"])
    assert " now   #213 claude 5s of 30m" in lines
    assert any(line.startswith(" step  2 of 3    ダッシュボード") for line in lines)


@pytest.mark.parametrize(
    ("name", "samples", "words"),
    [
        ("evaluator", 1, "#213 evaluator 2m 41s of 10m"),
        ("evaluator-2", 3, "#213 evaluator 2 of 3 2m 41s of 10m"),
        ("best", 1, "#213 evaluator on the best again 2m 41s of 10m"),
        ("check", 1, "#213 check 2m 41s of 10m"),
    ],
)
def test_what_runs_is_named(name: str, samples: int, words: str) -> None:
    child = Running(213, name, name, NOW - 161, NO_FILES)
    assert shown(seen(running=child, samples=samples))[4] == f" now   {words}"
    assert "baseline evaluator" in shown(seen(running=replace(child, iteration=0, name="evaluator")))[4]


def test_why_nothing_runs_is_told() -> None:
    paused = shown(KINDS["paused"])
    assert paused[4].startswith(" now   paused: You edited src/app.ts")
    assert len([line for line in paused if line.startswith("       ") and "You edited" in line]) == 3
    assert "waiting: claude's limit resets at 14:05 (in 32m)" in shown(KINDS["waiting"])[4]
    cooling = status(limits={**Limits().model_dump(), "cooldown_s": 35.0})
    assert shown(seen(status=cooling, running=None))[4] == " now   cooling down, 26s left"
    assert shown(seen(running=None))[4] == " now   getting #213 ready"
    ran = Running(213, "agent", "claude", NOW - 161, NO_FILES)
    for name, words in (("agent", "taking a snapshot of #213"), ("evaluator", "judging #213")):
        between = shown(seen(running=None, ran=replace(ran, name=name)))
        assert between[3].startswith(" iter  213/700")
        assert between[4] == f" now   {words}"
    assert shown(KINDS["nothing yet"])[1:3] == [" best  no score yet", " iter  0/700    2h 48m left    failures 0/3"]
    assert "the baseline" in shown(KINDS["nothing yet"])[3]


def test_a_loop_that_can_not_go_on_is_not_shown_at_work() -> None:
    why = "beatctl was shut down: k3f9 waits. Go on with: beatctl up -d"
    ran = Running(213, "agent", "claude", NOW - 161, NO_FILES)
    stuck = shown(seen(running=None, ran=ran), stuck=why, notices=[why, "another"])
    assert stuck[4] == f" now   {why}"
    assert [line for line in stuck if "taking a snapshot" in line] == []
    assert (stuck.count(f" {why}"), stuck.count(" another")) == (0, 1)
    # An agent outlives what is gone, and a pause has a reason of its own.
    assert " now   #213 claude 2m 41s of 30m" in shown(seen(), stuck=why, notices=[why])
    assert f" {why}" in shown(seen(), stuck=why, notices=[why])
    assert " now   paused: You edited" in "\n".join(shown(KINDS["paused"], stuck=why))


def test_an_iteration_in_line_for_its_evaluator_keeps_its_number() -> None:
    assert shown(seen(running=None, at_work=213))[3].startswith(" iter  213/700")


def test_what_is_over_is_not_shown_on() -> None:
    with noticed() as notices:
        say("Waiting for the worker …")
        assert notices.shown() == ["Waiting for the worker …"]
        say("Server and worker were gone; they are back.")
        assert notices.shown() == ["Server and worker were gone; they are back."]
        say("beatctl was shut down.")
        assert notices.shown("beatctl was shut down.")[0] == "beatctl was shut down."
        assert notices.shown(None) == ["Server and worker were gone; they are back."]
        assert notices.all() == ["Server and worker were gone; they are back."]
        assert notices.shown("beatctl was shut down.")[0] == "beatctl was shut down."
        assert notices.all()[-1] == "beatctl was shut down."


def test_limits_that_hold_are_shown() -> None:
    limits = Limits(max_iterations=0, max_failures=0, target=150000.0).model_dump()
    lines = shown(seen(status=status(limits={**limits, "max_cost_usd": 25.0}, failures=2)))
    assert lines[1].endswith("target 150,000")
    assert lines[3] == " iter  213    $14.20 of $25    failures 2"
    assert " iter  213    1,234 tokens" in shown(seen(status=status(limits=limits, cost_usd=0, tokens=1234)))[3]


def test_the_persons_own_folder_is_this_folder() -> None:
    assert any("This folder is in use until the loop ends" in line for line in shown(seen()))
    assert any("In use until the loop ends: /work/project" in line for line in shown(seen(here=False)))
    apart = seen(status=status(origin="/work", worktree="/work-k3f9"))
    assert any("Works in its own worktree: /work-k3f9" in line for line in shown(apart))
    assert not any("in use" in line.lower() for line in shown(KINDS["finished"]))


def test_wide_characters_are_measured_in_cells() -> None:
    head = frame(KINDS["wide"], Look(80, 24), NOW)[0]
    assert head.cell_len == 79
    assert head.plain.endswith("running  5h 12m")
    assert "\ufe0f" not in head.plain
    assert "\u200d" not in head.plain


def test_colours_only_where_they_are_wanted() -> None:
    lines = frame(seen(), Look(80, 24, keys=["p pause"], notices=["Gone"]), NOW)
    assert any("\x1b[" in ansi(line, colours=True) for line in lines)
    assert not any("\x1b" in ansi(line, colours=False) for line in lines)
    in_use = next(line for line in lines if "in use" in line.plain)
    assert ansi(in_use, colours=True).startswith("\x1b[2m ")
    # The 16 colours that a terminal's own palette decides on, light or dark: no other.
    assert not any(code in ansi(line, colours=True) for line in lines for code in (";5;", ";2;", "[97", "[37", "[30"))


@pytest.mark.parametrize(
    ("values", "columns", "bars"),
    [
        ([], 10, ""),
        ([5.0], 10, ""),
        ([5.0, 5.0], 10, "▁▁"),
        ([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 10, "█▇▆▅▄▃▂▁"),
        ([float(n) for n in range(1, 801)], 8, "▁▂▃▄▅▆▇█"),
        ([-1e308, 1e308], 8, "▁█"),
        ([1.0, 2.0], 1, ""),
    ],
)
def test_the_course_of_the_best_is_a_bar_each(values: Sequence[float], columns: int, bars: str) -> None:
    assert sparkline(values, columns) == bars
    assert sparkline(values, columns, bars=ASCII_BARS).isascii()


def test_only_keys_that_do_something_are_offered() -> None:
    def offered(**more: Any) -> str:
        return "".join(shown_key[0] for shown_key in keys(status(**more), ends_with_us=False))

    assert offered() == "psnqx"
    assert offered(asked="pause") == offered(state="paused") == "rsnqx"
    assert offered(asked="stop") == "nqx"
    assert offered(asked="cancel") == "q"
    assert "q" not in [shown_key[0] for shown_key in keys(status(), ends_with_us=True)]
    narrow = shown(seen(), columns=40)[-1]
    assert narrow == " p pause  s stop  n note  q detach"


def test_a_cancel_is_asked_about_and_a_paste_presses_no_key() -> None:
    def typed(*texts: str) -> list[Asked | None]:
        typing = Typing()
        return [typing.take(text, status(), ends_with_us=False) for text in texts]

    assert typed("p", "P", "s", "q", "", "r", "z") == [
        *(Asked("pause"), Asked("pause"), Asked("stop"), Asked("detach")),
        *(None, None, None),
    ]
    assert typed("x", "y", "y") == [None, Asked("cancel"), None]
    assert typed("x", "n", "y") == [None, None, None]
    assert typed("stop\n", "x", "xy", "q") == [None, None, None, None]


def test_a_note_is_typed_mended_and_sent() -> None:
    def typed(*texts: str) -> tuple[Asked | None, str]:
        typing = Typing()
        last = None
        for text in texts:
            last = typing.take(text, status(), ends_with_us=False)
        return last, typing.question("k3f9", 80)

    assert typed("n", "try lazx", "\x7f", "y", "\n") == (Asked("note", "try lazy"), "")
    assert typed("n", "a\nb\tc", "\r")[0] == Asked("note", "a b c")
    assert typed("n", "try lazy\n")[0] == Asked("note", "try lazy")
    assert typed("n", "pqsx", "\x1b") == (None, "")
    assert typed("n", "pqsx", "\x15", "\n") == (None, "")
    assert "note: try_" in typed("n", "try")[1]
    assert typed("n", "x" * 300)[1].startswith("note: …xxx")
    assert len(typed("n", "x" * 9999, "\n")[0].text) <= 4096  # type: ignore[union-attr]


def test_all_loops_are_a_table_that_fits() -> None:
    loops = [
        status(id="m2x4", state="finished", outcome="failed", strategy="retry", goal=WIDE * 5, best=None),
        status(),
        *(status(id=f"d{n}aa", state="finished", outcome="improved") for n in range(40)),
    ]
    running = {"k3f9": Running(213, "agent", "claude", NOW - 161, NO_FILES)}
    for columns in (1, 10, 20, 40, 60, 80, 120, 200):
        for height in (1, 2, 3, 4, 10, 24, 60):
            lines = table(loops, running, Look(columns, height, keys=["q leave"], notices=["Gone"]), NOW)
            assert 1 <= len(lines) <= height
            assert all(line.cell_len <= columns for line in lines)
    shown = [line.plain for line in table(loops, running, Look(120, 10, keys=["q leave"]), NOW)]
    assert shown[0].split() == ["ID", "STATE", "ITER", "BEST", "CHANGE", "ELAPSED", "NOW", "GOAL"]
    assert shown[1].split()[:10] == [
        "k3f9",
        "running",
        "213/700",
        "171,204",
        "-28.4%",
        "5h",
        "12m",
        "claude",
        "2m",
        "41s",
    ]
    assert shown[2].split()[:4] == ["m2x4", "failed", "212/700", "-"]
    assert shown[-2] == " and 35 more: beatctl list --all"
    assert "No loops yet" in table([], {}, Look(80, 24), NOW)[0].plain
