#!/usr/bin/env python3
"""A stand-in for claude with a limit: it speaks its stream of events, and does what the file `plan` beside it says.

Each line of the plan is one run: `ok`, `limit SECONDS` (the reset's distance from then), `limit` (no reset told),
`sit SECONDS` (a limit that it waits for itself, for too long), `overloaded`, `login`. The last line holds for all runs
after it. A run that is `ok` lowers `n` in its folder by one; a run that meets a limit has already broken `n` by then.
Each costs 0.02 dollars and 100 tokens.

`refuse` is a run that knows no session, as claude is where it is to resume one that is gone. The file `asked` beside it
gets a line of JSON for each run: the session it was to resume, its own, and its prompt.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LOGGED_OUT = "Failed to authenticate. API Error: 401"


def main() -> int:
    if "--version" in sys.argv:
        print("2.1.197 (Claude Code)")
        return 0
    log = HERE / "runs"
    with log.open("a") as file:
        file.write(f"{time.time()}\n")
    runs = len(log.read_text().splitlines())
    plan = (HERE / "plan").read_text().splitlines()
    word, _, seconds = plan[min(runs, len(plan)) - 1].partition(" ")
    resumes = sys.argv[sys.argv.index("--resume") + 1] if "--resume" in sys.argv else None
    with (HERE / "asked").open("a") as file:
        asked = {
            "resumes": resumes,
            "session": resumes or f"session-{runs}",
            "prompt": sys.argv[sys.argv.index("-p") + 1],
        }
        file.write(json.dumps(asked) + "\n")
    if word == "refuse" and resumes:
        return refuse(resumes)
    tell(type="system", subtype="init", session_id=asked["session"], model="claude-test")
    n = Path("n")
    if word in ("ok", "refuse"):
        n.write_text(f"{int(n.read_text()) - 1}\n")
        return end("lowered n", is_error=False)
    n.write_text("half done\n")
    if seconds:
        reset = int(time.time() + float(seconds))
        tell(type="rate_limit_event", rate_limit_info={"status": "rejected", "resetsAt": reset})
        if word == "sit":
            time.sleep(600)
        return end("You've hit your limit", is_error=True, api_error_status=429)
    status, said = {
        "limit": (429, "API Error: Request rejected (429)"),
        "overloaded": (529, "API Error: 529 Overloaded"),
        "login": (401, LOGGED_OUT),
    }[word]
    return end(said, is_error=True, api_error_status=status)


def refuse(session: str) -> int:
    tell(
        type="result",
        subtype="error_during_execution",
        is_error=True,
        num_turns=0,
        session_id=session,
        total_cost_usd=0,
        usage={"input_tokens": 0, "output_tokens": 0},
        modelUsage={},
        errors=[f"No conversation found with session ID: {session}"],
    )
    return 1


def end(said: str, *, is_error: bool, **more: object) -> int:
    usage = {"claude-test": {"inputTokens": 90, "outputTokens": 10}}
    tell(
        type="result",
        subtype="success",
        is_error=is_error,
        result=said,
        num_turns=1,
        total_cost_usd=0.02,
        modelUsage=usage,
        **more,
    )
    return int(is_error)


def tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(main())
