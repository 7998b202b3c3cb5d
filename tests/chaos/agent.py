"""The scripted agent, a program of its own: `python -I -S agent.py SEED LOG MOST_S SLOW`, in the workspace.

What it does follows from seed, iteration and the files it finds. Done twice it is something else: a repeated run, or
one on files that were not put back, shows in the scores. The log is what it says of itself, a line of JSON each. The
first to find the file SLOW removes it and takes its time.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

FAILS = 7
"""The exit code of a run that fails, as one in twelve does."""
SLOW_S = 8.0
"""Longer than it takes until a killed worker is missed: such a run is taken over while it runs."""


def main() -> int:
    seed, log, most_s, slow = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    iteration = int(os.environ["BEATCTL_ITERATION"])
    about = {
        "who": "agent",
        "id": os.urandom(8).hex(),
        "iteration": iteration,
        "run": f"{iteration} step {os.environ['BEATCTL_STEP']}",
    }

    def say(event: str, **more: int) -> None:
        line = json.dumps({**about, "event": event, "at": time.time(), **more}) + "\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    say("start")
    dice = random.Random(f"{seed} {iteration}")
    edit(dice)
    time.sleep(dice.uniform(0, most_s))
    if os.path.exists(slow):
        os.remove(slow)
        time.sleep(SLOW_S)
    if dice.random() < 1 / 12:
        # Found by neither its session nor its environment.
        left = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True, env={})
        say("left", pid=left.pid)
    if dice.random() < 1 / 12:
        commit(iteration)
    code = FAILS if dice.random() < 1 / 12 else 0
    print(f"iteration {iteration} tried something")
    say("end", code=code)
    return code


def edit(dice: random.Random) -> None:
    """Change numbers in some files; now and then make a file, remove one, or make one that breaks the evaluator."""
    for _ in range(dice.randint(1, 3)):
        path = f"parts/{dice.randrange(12)}.txt"
        numbers = read(path)
        numbers[dice.randrange(len(numbers))] += dice.choice((-40, -9, -1, 2, 5, 30))
        write(path, numbers)
    what = dice.random()
    if what < 0.1:
        write(f"parts/more-{dice.randrange(1000)}.txt", [dice.randint(-20, 20)])
    elif what < 0.15:
        more = sorted(name for name in os.listdir("parts") if name.startswith("more-"))
        if more:
            os.remove(f"parts/{dice.choice(more)}")
    elif what < 0.2:
        write("broken", [1])


def read(path: str) -> list[int]:
    with open(path) as file:
        return [int(line) for line in file]


def write(path: str, numbers: list[int]) -> None:
    with open(path, "w") as file:
        file.writelines(f"{number}\n" for number in numbers)


def commit(iteration: int) -> None:
    """What an agent may do to the repository; the loop undoes it."""
    identity = ["-c", "user.name=agent", "-c", "user.email=agent@example.com"]
    for words in (["add", "-A"], [*identity, "commit", "-qm", f"iteration {iteration}"], ["tag", f"agent-{iteration}"]):
        subprocess.run(["git", *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
