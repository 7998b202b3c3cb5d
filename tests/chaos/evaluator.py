"""The evaluator, a program of its own: `python -I -S evaluator.py LOG`. The score is the sum of the tree's numbers."""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    about = {
        "who": "evaluator",
        "id": os.urandom(8).hex(),
        "iteration": int(os.environ["BEATCTL_ITERATION"]),
        # One file for each run of an iteration: the candidate's, and the best's where the candidate had no score.
        "run": os.environ["BEATCTL_SCORE_FILE"],
    }

    def say(event: str) -> None:
        line = json.dumps({**about, "event": event, "at": time.time()}) + "\n"
        descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    say("start")
    total = 0
    for name in sorted(os.listdir("parts")):
        with open(f"parts/{name}") as file:
            total += sum(int(line) for line in file)
    with open("left-by-the-evaluator", "a") as file:
        file.write("the next run must not find this\n")
    code = 3 if os.path.exists("broken") else 0
    print("something is broken" if code else total)
    say("end")
    return code


if __name__ == "__main__":
    sys.exit(main())
