"""Retry until it passes, and pipelines of steps."""

from __future__ import annotations

from tests.loops.conftest import Loops

UNTIL = ("--until", "grep -q done n")


def test_a_retry_ends_at_the_first_pass_and_the_next_try_sees_why_the_last_failed(loops: Loops) -> None:
    repo = loops.repository
    agent = repo.agent('cat "$1" >> ../prompts.txt; echo "try $i" >> n; [ $i = 3 ] && echo done >> n; true')
    evaluator = "grep -q done n || { echo 'missing the word done'; exit 1; }"
    status = loops.start("make it pass", "--until", evaluator, "-a", agent, expect=0)
    assert (status["outcome"], status["reason"], status["iteration"]) == ("reached", "passed", 3)
    assert [row["verdict"] for row in loops.rows(status["id"])] == ["baseline", "fail", "fail", "pass"]
    assert status["best"]["iteration"] == 3
    assert repo.read("n") == "50\ntry 1\ntry 2\ntry 3\ndone\n"
    prompts = (repo.folder.parent / "prompts.txt").read_text()
    assert prompts.count("make it pass") == 3
    assert prompts.count("missing the word done") >= 3


def test_what_passes_already_costs_nothing(loops: Loops) -> None:
    agent = loops.repository.agent("touch agent-ran")
    status = loops.start("x", "--until", "true", "-a", agent, expect=0)
    assert (status["outcome"], status["reason"], status["iteration"]) == ("reached", "passed", 0)
    assert "Already passes; nothing spent." in status["said"]
    assert not (loops.repository.folder / "agent-ran").exists()


def test_a_retry_that_never_passed_is_a_failure_and_keeps_the_last_try(loops: Loops) -> None:
    agent = loops.repository.agent('echo "try $i" >> n')
    status = loops.start("x", *UNTIL, "-a", agent, "-n", "2", expect=1)
    assert (status["outcome"], status["reason"], status["best"]) == ("failed", "max-iterations", None)
    assert loops.repository.read("n") == "50\ntry 1\ntry 2\n"
    loops.do("undo", status["id"])
    assert loops.repository.read("n") == "50\n"


def test_on_fail_revert_starts_each_try_from_the_beginning(loops: Loops) -> None:
    agent = loops.repository.agent('echo "try $i" >> n')
    status = loops.start("x", *UNTIL, "-a", agent, "-n", "2", "--on-fail", "revert", expect=1)
    assert loops.repository.read("n") == "50\n"
    assert loops.repository.git("show", f"refs/beatctl/{status['id']}/2:n") == "50\ntry 2"


def test_a_flaky_test_has_to_pass_several_times_in_a_row(loops: Loops) -> None:
    counter = loops.repository.folder.parent / "count"
    agent = loops.repository.agent("echo done >> n")
    flaky = f"echo x >> {counter}; test $(wc -l < {counter}) -ne 2"
    status = loops.start("x", "--until", flaky, "--samples", "3", "-a", agent, expect=0)
    rows = loops.rows(status["id"])
    assert [row["verdict"] for row in rows] == ["baseline", "pass"]
    assert counter.read_text().count("x") == 5


def test_an_evaluator_that_is_not_there_ends_the_loop_before_any_agent_runs(loops: Loops) -> None:
    agent = loops.repository.agent("touch agent-ran")
    status = loops.start("x", "--until", "no-such-program-here", "-a", agent, expect=3)
    assert (status["outcome"], status["reason"]) == ("failed", "no-baseline")
    assert "exit code 127" in status["said"]
    assert not (loops.repository.folder / "agent-ran").exists()


def test_an_evaluator_that_crashes_is_a_failure_and_a_red_test_is_none(loops: Loops) -> None:
    agent = loops.repository.agent("echo $i > n")
    evaluator = "case $(cat n) in 50) exit 1;; 1) exit 3;; *) kill -11 $$;; esac"
    status = loops.start("x", "--until", evaluator, "-a", agent, "--max-failures", "2", expect=1)
    assert [row["verdict"] for row in loops.rows(status["id"])] == ["baseline", "fail", "crash", "crash"]
    assert (status["reason"], status["failures"]) == ("max-failures", 2)


def test_a_pipelines_steps_run_in_order_each_with_its_own_text_and_one_evaluation(loops: Loops) -> None:
    repo = loops.repository
    log = repo.folder.parent / "log"
    agent = repo.agent(f'head -1 "$1" >> {log}; echo "step $BEATCTL_STEP" >> n; [ $i = 2 ] && echo done >> n; true')
    words = ("--pipeline", "--step", "refactor", "--step", "run tests", "--step", "measure")
    until = f"echo evaluated >> {log}; grep -q done n"
    status = loops.start(*words, "--until", until, "-a", agent, expect=0)
    assert status["iteration"] == 2
    once = ["refactor", "run tests", "measure", "evaluated"]
    assert log.read_text().splitlines() == ["evaluated", *once, *once]
    row = loops.rows(status["id"])[1]
    assert len(row["agent"]["steps"]) == 3
    assert f"{status['id']}" in repo.git("for-each-ref", "refs/beatctl")
    assert {"1", "1-step1", "1-step2"} <= repo.refs(status["id"])


def test_a_failed_step_ends_the_iteration_unevaluated(loops: Loops) -> None:
    log = loops.repository.folder.parent / "log"
    agent = loops.repository.agent(
        f'echo "$BEATCTL_STEP" >> {log}; echo $i >> n; [ $BEATCTL_STEP = 2 ] && exit 5; true'
    )
    words = ("--step", "one", "--step", "two", "--step", "three", *UNTIL, "--max-failures", "2")
    status = loops.start(*words, "-a", agent, expect=1)
    assert log.read_text().split() == ["1", "2", "1", "2"]
    assert [row["verdict"] for row in loops.rows(status["id"])] == ["baseline", "crash", "crash"]
    assert status["reason"] == "max-failures"


def test_memory_none_sends_the_goal_alone(loops: Loops) -> None:
    agent = loops.repository.agent('cat "$1" > ../prompt.txt; echo done > n')
    loops.start("just this", *UNTIL, "--memory", "none", "-a", agent, expect=0)
    assert (loops.repository.folder.parent / "prompt.txt").read_text() == "just this"
