"""Optimize: the best is kept, everything else comes back, and the user's own work is never touched."""

from __future__ import annotations

import pytest

from tests.loops.conftest import Loops

MINIMIZE = ("--eval", "cat n", "--direction", "minimize")


def test_the_best_wins_and_the_users_uncommitted_work_is_as_before(loops: Loops) -> None:
    repo = loops.repository
    repo.write("edited.txt", "committed\n")
    repo.write("staged.txt", "committed\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "second")
    repo.write("stashed.txt", "stashed\n")
    repo.git("stash", "-u")
    repo.write("edited.txt", "my edit\n")
    repo.write("staged.txt", "my staged edit\n")
    repo.git("add", "staged.txt")
    repo.write("untracked.txt", "mine\n")
    repo.write("ignored/cache.bin", "mine too\n")
    before = [
        repo.git(*words) for words in (("branch", "-v"), ("diff", "--cached"), ("stash", "list"), ("status", "-s"))
    ]
    index = (repo.folder / ".git/index").read_bytes()

    agent = repo.agent(
        "case $i in 1|4) echo $(($(cat n) - 10)) > n;; 2) echo $(($(cat n) + 7)) > n;; *) echo broken > n;; esac\n"
        'echo junk > junk-$i.txt; echo agent > edited-by-agent.txt; echo "changed n in try $i"'
    )
    status = loops.start("lower n", *MINIMIZE, "--agent", agent, "--max-iterations", "5", expect=0)

    assert (status["state"], status["outcome"], status["reason"]) == ("finished", "improved", "max-iterations")
    assert (status["baseline"]["score"], status["best"]["score"], status["best"]["iteration"]) == (50, 30, 4)
    assert repo.read("n") == "30\n"
    rows = loops.rows(status["id"])
    assert [row["verdict"] for row in rows] == ["baseline", "keep", "discard", "crash", "keep", "crash"]
    assert [row["score"] for row in rows] == [50, 40, 47, None, 30, None]
    assert [row["parent"] for row in rows] == [None, 0, 1, 1, 1, 4]
    assert 'Its last line was "broken"' in rows[3]["reason"]
    assert rows[2]["summary"] == "changed n in try 2"
    assert rows[0]["agent"] is None

    assert repo.read("edited.txt") == "my edit\n"
    assert repo.read("untracked.txt") == "mine\n"
    assert repo.read("ignored/cache.bin") == "mine too\n"
    assert (repo.folder / ".git/index").read_bytes() == index
    after = [
        repo.git(*words) for words in (("branch", "-v"), ("diff", "--cached"), ("stash", "list"), ("status", "-s"))
    ]
    assert before[:3] == after[:3]
    assert {p.name for p in repo.folder.glob("junk-*")} == {"junk-1.txt", "junk-4.txt"}
    for n, content in ((2, "47"), (3, "broken"), (5, "broken")):
        assert repo.git("show", f"refs/beatctl/{status['id']}/{n}:n") == content
        trailers = repo.git("log", "-1", "--format=%(trailers)", f"refs/beatctl/{status['id']}/{n}")
        assert f"Beatctl-Verdict: {rows[n]['verdict']}" in trailers
    assert "Beatctl-Score: 47" in repo.git("log", "-1", "--format=%B", f"refs/beatctl/{status['id']}/2")
    assert repo.git("rev-parse", f"refs/beatctl/{status['id']}/4") == status["best"]["snapshot"]

    undone = loops.do("undo", status["id"])
    assert undone["id"] == status["id"]
    assert repo.read("n") == "50\n"
    assert repo.git("status", "-s") == before[3]


def test_a_target_that_is_met_ends_the_spending(loops: Loops) -> None:
    agent = loops.repository.agent("echo $(($(cat n) - 10)) > n")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "--target", "30", expect=0)
    assert (status["outcome"], status["reason"], status["iteration"]) == ("reached", "target", 2)
    met = loops.start("lower n", *MINIMIZE, "-a", agent, "--target", "30", expect=0)
    assert (met["outcome"], met["reason"], met["iteration"]) == ("reached", "target", 0)


def test_a_plateau_and_a_loop_that_gained_nothing_are_told(loops: Loops) -> None:
    agent = loops.repository.agent("echo $(($(cat n) + $i)) > n")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "--plateau", "2", expect=1)
    assert (status["outcome"], status["reason"], status["iteration"]) == ("unchanged", "plateau", 2)
    assert loops.repository.read("n") == "50\n"


def test_an_agent_that_keeps_failing_ends_the_loop_before_the_money_is_gone(loops: Loops) -> None:
    agent = loops.repository.agent("echo half-done > n; echo 'no key' >&2; exit 7")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "--max-iterations", "0", expect=1)
    assert (status["outcome"], status["reason"], status["failures"]) == ("failed", "max-failures", 3)
    rows = loops.rows(status["id"])
    assert [row["verdict"] for row in rows] == ["baseline", "crash", "crash", "crash"]
    assert rows[1]["agent"]["exit_code"] == 7
    assert "no key" in rows[1]["reason"]
    assert rows[1]["evaluator"] is None
    assert loops.repository.read("n") == "50\n"
    assert loops.repository.git("show", f"refs/beatctl/{status['id']}/1:n") == "half-done"


def test_an_agent_that_hangs_is_ended_with_all_it_started(loops: Loops) -> None:
    agent = loops.repository.agent("setsid sleep 321 & sleep 322")
    words = ("lower n", *MINIMIZE, "-a", agent, "--agent-timeout", "500ms", "-n", "1")
    status = loops.start(*words, expect=1)
    row = loops.rows(status["id"])[1]
    assert (row["verdict"], row["agent"]["exit_code"]) == ("timeout", -15)
    assert "time limit of 0.5 s" in row["reason"]


def test_a_candidate_that_hangs_the_evaluator_is_a_timeout_and_the_loop_goes_on(loops: Loops) -> None:
    agent = loops.repository.agent("[ $i = 1 ] && echo hang > n || echo 5 > n")
    evaluator = 'if [ "$(cat n)" = hang ]; then sleep 300; fi; cat n'
    words = ("lower n", "--eval", evaluator, "--minimize", "-a", agent, "--eval-timeout", "1s", "-n", "2")
    status = loops.start(*words, expect=0)
    rows = loops.rows(status["id"])
    assert [row["verdict"] for row in rows] == ["baseline", "timeout", "keep"]
    assert "timed out after 1 s" in rows[1]["reason"]


def test_a_broken_environment_pauses_the_loop_instead_of_blaming_the_candidates(loops: Loops) -> None:
    repo = loops.repository
    service = repo.folder.parent / "service-is-up"
    service.touch()
    agent = repo.agent(f"echo $((40 - $i)) > n; [ $i = 2 ] && rm {service}; true")
    evaluator = f"test -e {service} || {{ echo 'connection refused'; exit 1; }}; cat n"
    loop = loops.detached("lower n", "--eval", evaluator, "--minimize", "-a", agent, "-n", "3")
    paused = loops.until(loop, "the pause", lambda s: s["state"] == "paused")
    assert paused["reason"] == "evaluator-broken"
    assert "connection refused" in paused["detail"]
    assert repo.read("n") == "39\n"
    service.touch()
    loops.do("resume", loop)
    status = loops.finished(loop)
    assert [row["verdict"] for row in loops.rows(loop)] == ["baseline", "keep", "keep", "keep"]
    assert status["best"]["score"] == 37


def test_an_agent_that_changes_nothing_three_times_pauses_with_its_own_words(loops: Loops) -> None:
    agent = loops.repository.agent("echo 'I need permission to run npm'")
    done = loops.start("lower n", *MINIMIZE, "-a", agent, expect=1)
    assert (done["state"], done["reason"], done["iteration"]) == ("paused", "unchanged", 3)
    assert "changed nothing 3 times" in done["detail"]
    assert "I need permission to run npm" in done["detail"]
    assert f"beatctl resume {done['id']}" in done["said"]
    loops.do("stop", done["id"])
    assert loops.finished(done["id"])["reason"] == "stopped"


def test_a_check_that_fails_discards_and_one_that_fails_on_the_baseline_is_refused(loops: Loops) -> None:
    agent = loops.repository.agent("[ $i = 1 ] && echo bad > ok || echo good > ok; echo $((10 * $i)) > n")
    loops.repository.write("ok", "good\n")
    check = "grep -q good ok || { echo 'ok is bad'; exit 3; }"
    status = loops.start("lower n", *MINIMIZE, "--check", check, "-a", agent, "-n", "2", expect=0)
    rows = loops.rows(status["id"])
    assert [row["verdict"] for row in rows] == ["baseline", "discard", "keep"]
    assert rows[1]["reason"] == 'check: exit code 3: "ok is bad"'
    refused = loops.start("lower n", *MINIMIZE, "--check", "exit 1", "-a", agent, expect=3)
    assert (refused["outcome"], refused["reason"], refused["iteration"]) == ("failed", "no-baseline", 0)


@pytest.mark.parametrize(
    ("evaluator", "said"),
    [
        ("true", "It printed nothing"),
        ("echo Done in 3.2s", 'Its last line was "Done in 3.2s"'),
        ("echo 12abc", 'Its last line was "12abc"'),
        ("echo nan", 'Its last line was "nan"'),
        ("echo 1e999", "no finite number"),
        ("no-such-program-here", "exit code 127"),
        ("printf '\\377\\376'", "Its last line was"),
        ("echo 5; exit 2", "exit code 2"),
        ("kill -9 $$", "signal 9"),
        ("sleep 300", "timed out after 1 s"),
    ],
)
def test_no_score_from_the_baseline_ends_before_any_agent_runs(loops: Loops, evaluator: str, said: str) -> None:
    agent = loops.repository.agent("touch agent-ran")
    words = ("lower n", "--eval", evaluator, "--minimize", "-a", agent, "--eval-timeout", "1s")
    status = loops.start(*words, expect=3)
    assert (status["outcome"], status["reason"]) == ("failed", "no-baseline")
    assert "No score from the baseline; no agent ran." in status["detail"]
    assert said in status["detail"]
    assert status["detail"] in status["said"]
    assert not (loops.repository.folder / "agent-ran").exists()
    assert [row["verdict"] for row in loops.rows(status["id"])] == ["baseline"]


def test_twenty_megabytes_of_noise_before_the_score_and_a_score_file_are_read(loops: Loops) -> None:
    agent = loops.repository.agent("echo 3 > n")
    noisy = "head -c 20000000 /dev/zero | tr '\\0' 'x'; echo; printf '\\377\\n'; cat n"
    status = loops.start("lower n", "--eval", noisy, "--minimize", "-a", agent, "-n", "1", expect=0)
    assert status["best"]["score"] == 3
    loops.do("undo", status["id"])
    filed = "cat n > $BEATCTL_SCORE_FILE; echo 99"
    status = loops.start("lower n", "--eval", filed, "--minimize", "-a", agent, "-n", "1", expect=0)
    assert (status["baseline"]["score"], status["best"]["score"]) == (50, 3)


def test_what_an_evaluator_leaves_behind_is_undone_and_its_children_are_gone(loops: Loops) -> None:
    agent = loops.repository.agent("echo $((40 - $i)) > n")
    evaluator = "mkdir -p out; date > out/report; echo 1 >> n.tmp; (setsid sleep 323 &); head -1 n"
    status = loops.start("lower n", "--eval", evaluator, "--minimize", "-a", agent, "-n", "2", expect=0)
    assert status["best"]["score"] == 38
    assert loops.repository.git("status", "-s") == "M n"


def test_a_nights_time_limit_starts_nothing_after_its_end(loops: Loops) -> None:
    agent = loops.repository.agent("echo $((40 - $i)) > n; sleep 0.3")
    status = loops.start("lower n", *MINIMIZE, "-a", agent, "--for", "2s", "--cooldown", "200", expect=0)
    assert (status["outcome"], status["reason"]) == ("improved", "max-duration")
    assert status["iteration"] >= 1


def test_samples_are_all_taken_and_their_median_is_the_score(loops: Loops) -> None:
    agent = loops.repository.agent("echo 20 > n")
    counter = loops.repository.folder.parent / "count"
    evaluator = f"echo x >> {counter}; echo $(( $(cat n) + $(wc -l < {counter}) % 3 ))"
    status = loops.start(
        "lower n", "--eval", evaluator, "--minimize", "--samples", "3", "-a", agent, "-n", "1", expect=0
    )
    row = loops.rows(status["id"])[1]
    assert sorted(row["samples"]) == [20, 21, 22]
    assert row["score"] == 21
