"""Made loops of every kind: a status and its rows, as a ledger would hold them."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import AgentRow, EvaluatorRow, Mark, Row, Status, Verdict, timestamp
from beatctl.activities.workspace import Workspace
from beatctl.workflows.spec import Limits

STARTED = 1_760_000_000.0
WORDS = (
    *("replace moment with date-fns in src/dashboard/range.ts", "lazy-load the chart legend"),
    *("drop the polyfills no browser needs any more", "inline the two icons that are used"),
    *("share one formatter between tables and charts", "remove dead exports from the money module"),
    *("split the settings page off the main bundle", "precompute month names"),
)


@dataclass
class Made:
    """A loop that never ran."""

    status: Status
    rows: list[Row]
    spec: dict[str, Any] = field(default_factory=lambda: {"evaluator": "node scripts/measure-bundle.js"})

    def add_to(self, ledger: Ledger) -> None:
        assert ledger.add_loop(self.status, json.dumps(self.spec), STARTED)
        ledger.write(self.status, *self.rows)


def status(**more: Any) -> Status:
    given: dict[str, Any] = {
        "id": "k3f9",
        "goal": "reduce bundle size of the dashboard module",
        "strategy": "optimize",
        "direction": "minimize",
        "state": "finished",
        "outcome": "improved",
        "reason": "max-iterations",
        "agent": "claude",
        "directory": "/work/shop",
        "limits": Limits().model_dump(),
        "started_at": timestamp(STARTED),
    }
    return Status(**{**given, **more})


def row(number: int, verdict: Verdict, score: float | None = None, **more: Any) -> Row:
    given: dict[str, Any] = {"started_at": timestamp(STARTED + 60 * number), "duration_s": 50.0}
    return Row(iteration=number, verdict=verdict, score=score, **{**given, **more})


def optimized(rows: list[Row], **more: Any) -> Made:
    """An optimize loop with these rows; what counters and marks follow from them is set."""
    kept = [one for one in rows if one.verdict in ("baseline", "keep") and one.score is not None]
    marks = [Mark(iteration=one.iteration, score=one.score, snapshot=one.snapshot) for one in (kept[:1] + kept[-1:])]
    counts: dict[str, int] = {}
    for one in rows:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    known: dict[str, Any] = {
        "iteration": rows[-1].iteration if rows else 0,
        "baseline": marks[0] if marks else None,
        "best": marks[-1] if marks else None,
        "counts": counts,
        "cost_usd": round(sum(one.agent.cost_usd or 0.0 for one in rows if one.agent), 6),
        "tokens": sum(one.agent.tokens or 0 for one in rows if one.agent),
        "elapsed_s": 60.0 * len(rows),
    }
    return Made(status(**{**known, **more}), rows)


def noisy(count: int = 700, seed: int = 3, loop: str = "k3f9") -> Made:
    """A night: noise, a dozen and more keeps, crashes, timeouts, scores a hundred times too large, adopted runs."""
    chance = random.Random(seed)
    best, parent, at = 239_107.0, 0, STARTED
    rows = [row(0, "baseline", best, samples=[best], duration_s=9.0, snapshot=f"{0:040x}", started_at=timestamp(at))]
    at += 9.0
    for number in range(1, count + 1):
        took = chance.uniform(20, 90)
        agent = AgentRow(
            name="claude",
            version="2.1.197",
            model="sonnet" if number % 9 else "haiku",
            exit_code=0,
            cost_usd=round(chance.uniform(0.01, 0.05), 4),
            tokens=chance.randrange(2_000, 40_000),
            duration_s=round(took, 3),
            adopted=number in (212, 213, 400),
            lost=int(number == 401),
        )
        given: dict[str, Any] = {
            "agent": agent,
            "evaluator": EvaluatorRow(exit_code=0, duration_s=round(chance.uniform(3, 6), 3)),
            "parent": parent,
            "snapshot": f"{number:040x}",
            "summary": f"{chance.choice(WORDS)} ({number})",
            "started_at": timestamp(at),
            "duration_s": round(took + 7, 3),
        }
        kind = chance.random()
        if kind < 0.04:
            found = row(number, "crash", reason="build failed: Cannot find module './fmt'", **given)
        elif kind < 0.05:
            found = row(number, "timeout", reason="the agent ran out of time after 30m", **given)
        elif kind < 0.06:
            found = row(number, "discard", best * 100, **given)
        elif kind < 0.08:
            found = row(number, "discard", best, reason="changed nothing", **given)
        else:
            score = float(round(best * (1 + chance.gauss(0.03, 0.018))))
            verdict: Verdict = "keep" if score < best else "discard"
            found = row(number, verdict, score, samples=[score], **given)
            if verdict == "keep":
                best, parent = score, number
        rows.append(found)
        at += took + 7.5 + (7_800 if number == 333 else 0)
    return optimized(rows, id=loop, elapsed_s=round(at - STARTED, 3), limits=Limits(max_iterations=count).model_dump())


def retried(reasons: list[str], *, passed: bool, loop: str = "m2t4", **more: Any) -> Made:
    """A retry loop: a failed try for each reason, and one that passed."""
    agent = AgentRow(name="claude", exit_code=0, duration_s=40.0, tokens=1200)
    rows = [row(0, "baseline", reason=None)]
    for number, reason in enumerate(reasons, 1):
        rows.append(row(number, "fail", reason=reason, agent=agent, parent=number - 1, summary=f"tried fix {number}"))
    if passed:
        number = len(rows)
        rows.append(row(number, "pass", agent=agent, parent=number - 1, summary="the token was checked twice"))
    given: dict[str, Any] = {
        "id": loop,
        "goal": "fix the failing test in auth.test.ts",
        "strategy": "retry",
        "direction": None,
        "outcome": "reached" if passed else "failed",
        "reason": "passed" if passed else "max-iterations",
        "iteration": len(rows) - 1,
        "best": Mark(iteration=len(rows) - 1) if passed else None,
        "baseline": Mark(iteration=0),
        "elapsed_s": 60.0 * len(rows),
        "tokens": 1200 * (len(rows) - 1),
    }
    return Made(status(**{**given, **more}), rows, {"evaluator": "npm test"})


def pipeline(count: int = 4) -> Made:
    """A pipeline of three steps; the second failed in its second iteration."""
    rows = [row(0, "baseline")]
    for number in range(1, count + 1):
        steps = [
            AgentRow(name="codex", exit_code=0, duration_s=10.0 * step, cost_usd=0.1 * step)
            for step in range(1, 3 if number == 2 else 4)
        ]
        agent = AgentRow(
            name="codex", exit_code=0, duration_s=sum(step.duration_s for step in steps), cost_usd=0.3, steps=steps
        )
        verdict: Verdict = "pass" if number == count else "crash" if number == 2 else "fail"
        rows.append(row(number, verdict, agent=agent, parent=number - 1, duration_s=80.0, reason="exit code 1"))
    made = retried([], passed=True, loop="p7q8")
    done = {"iteration": count, "best": Mark(iteration=count), "elapsed_s": 400.0, "cost_usd": 0.3 * count}
    steps_text = ["refactor the payment module", "run the integration tests", "measure test coverage"]
    return Made(
        made.status.model_copy(update=done), rows, {"evaluator": "check-coverage --min 90", "steps": steps_text}
    )


def with_snapshots(made: Made, home: Home, folder: Path, environ: dict[str, str]) -> Made:
    """The same loop with a real repository and a real commit for each row: every experiment changes some lines."""
    chance = random.Random(1)

    def git(*words: str, given: str | None = None) -> str:
        done = subprocess.run(["git", *words], cwd=folder, env=environ, input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    folder.mkdir()
    lines = [f"export const part{number} = load('./part{number}') && \"<b>{number}</b>\";" for number in range(400)]
    (folder / "parts.ts").write_text("\n".join(lines) + "\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    workspace = Workspace.open(home.loop(made.status.id), folder)
    workspace.close()
    contents = {0: lines}
    stream = []
    for one in made.rows:
        now = list(contents[one.parent or 0])
        for _ in range(chance.choice((1, 3, 10, 40)) if one.iteration else 0):
            now[chance.randrange(len(now))] = f"// dropped in {one.iteration}: </script> 'é' {chance.random()}"
        contents[one.iteration] = now
        text = ("\n".join(now) + "\n").encode()
        stream.append(f"commit refs/kept/{one.iteration}\nmark :{one.iteration + 1}\n")
        stream.append("committer Ada <ada@example.com> 1760000000 +0000\ndata 2\nx\n")
        stream.append(f"M 100644 inline parts.ts\ndata {len(text)}\n{text.decode()}\n")
    git("fast-import", "--quiet", "--force", "--export-marks=.git/marks", given="".join(stream))
    marks = dict(line.split() for line in (folder / ".git" / "marks").read_text().splitlines())
    rows = [one.model_copy(update={"snapshot": marks[f":{one.iteration + 1}"]}) for one in made.rows]
    again = optimized(rows)
    named = {"baseline": again.status.baseline, "best": again.status.best, "directory": str(folder)}
    return Made(made.status.model_copy(update={**named, "worktree": str(folder)}), rows, made.spec)
