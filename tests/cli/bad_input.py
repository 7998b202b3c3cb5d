"""Everything that can be typed or done wrong, in two tables: what is refused before anything starts, and what an
evaluator or an agent does while a loop runs. `test_bad_input.py` makes each of it happen."""

from __future__ import annotations

from dataclasses import dataclass, field

AGENT = ("--agent", "true")
RETRY = ("start", "fix it", "--until", "true", *AGENT)
OPTIMIZE = ("start", "fix it", "--eval", "echo 1", "--minimize", *AGENT)
NO_AGENT = ("start", "fix it", "--until", "true")
TREE = (*OPTIMIZE, "--worktree")

GIT = "git init -q; git add -A; git commit -qm first"
PROGRAMS = 'mkdir ../bin; for name in git sh cat env; do ln -s "$(command -v $name)" ../bin; done'
CLAUDE = f"{PROGRAMS}; printf '#!/bin/sh\\necho 2.1.0\\n' > ../bin/claude; chmod +x ../bin/claude"
ONLY_THOSE = {"PATH": "{place}/bin"}


@dataclass(frozen=True)
class Refused:
    """Words that are refused. `{place}` (in words, `cwd`, `env`) is the folder above the project, `{HOME}` home."""

    words: tuple[str, ...]
    said: str
    code: int = 2
    prepare: str = ""
    """Shell, run in the project before."""
    cwd: str = "{place}/project"
    env: dict[str, str] = field(default_factory=dict)
    name: str = ""


REFUSED = [
    # Goal and kind of loop
    Refused(("start",), "What is the goal?"),
    Refused(("start", ""), "The goal is empty."),
    Refused(("start", "fix", "it", "--until", "true"), 'put it in quotes: "fix it"'),
    Refused(("start", "fix it"), "How is success told?"),
    Refused(("start", "fix it", "--until", "true", "--eval", "true"), "not both"),
    Refused(("start", "fix it", "--eval", "echo 1"), "Is lower or higher better? Add --minimize or --maximize."),
    Refused((*OPTIMIZE, "--maximize"), "contradict each other: give one."),
    Refused((*RETRY, "--minimize"), "--minimize goes with --eval"),
    Refused(("start", "fix it", "--until", ""), "--until is empty."),
    Refused(("start", "fix it", "--eval", " ", "--minimize"), "--eval is empty."),
    Refused((*RETRY, "--check", ""), "--check is empty."),
    Refused((*RETRY, "--step", "one"), "2 to 20 steps, this one has one"),
    Refused((*RETRY, "--step", "one", "--step", ""), "Step 2 is empty."),
    Refused(("start", "--pipeline", "--until", "true"), "2 to 20 steps"),
    # Numbers and times
    Refused((*RETRY, "-n", "-5"), '--max-iterations can\'t be negative: "-5".'),
    Refused((*RETRY, "-n", "2.9xyz"), '--max-iterations takes a whole number, 0 for no limit, not "2.9xyz".'),
    Refused((*RETRY, "-n", "99999999999"), "is more than 1,000,000,000"),
    Refused((*RETRY, "-n", ""), "--max-iterations takes a whole number"),
    Refused((*RETRY, "--max-failures", "x"), "--max-failures takes a whole number"),
    Refused((*RETRY, "--max-unchanged", "1.5"), "--max-unchanged takes a whole number"),
    Refused((*RETRY, "--cooldown", "5 parsecs"), '--cooldown does not understand "5 parsecs".'),
    Refused((*RETRY, "--cooldown", "-1"), "--cooldown can't be negative"),
    Refused((*RETRY, "--agent-timeout", "30"), "--agent-timeout 30 needs a unit: 30s, 30m or 30h."),
    Refused((*RETRY, "--eval-timeout", "30"), "--eval-timeout 30 needs a unit"),
    Refused((*RETRY, "--for", "8"), "--for 8 needs a unit"),
    Refused((*RETRY, "--for", ""), "--for is empty."),
    Refused((*RETRY, "--for", "99999h"), "longer than ten years"),
    Refused((*OPTIMIZE, "--target", "nan"), "--target takes a number"),
    Refused((*RETRY, "--target", "3"), "--target goes with --eval"),
    Refused((*OPTIMIZE, "--plateau", "-1"), "--plateau can't be negative"),
    Refused((*RETRY, "--samples", "0"), "--samples must be at least 1"),
    Refused((*OPTIMIZE, "--on-fail", "revert"), "--on-fail goes with --until"),
    # Agents
    Refused(
        (*NO_AGENT, "-a", "codex"), 'Agent "codex" is not on PATH. Found: claude. Install it', 3, CLAUDE, env=ONLY_THOSE
    ),
    Refused((*NO_AGENT, "-a", "nobody {{prompt}}"), 'Agent "nobody" is not on PATH.', 3, CLAUDE, env=ONLY_THOSE),
    Refused((*NO_AGENT, "-a", "./agent.sh"), "no such file", 3),
    Refused((*NO_AGENT, "-a", "./file"), "executable", 3),
    Refused((*NO_AGENT, "-a", "'open"), "a quote or backslash in it is not closed", 2),
    Refused((*NO_AGENT, "-a", ""), "--agent", 2),
    Refused(NO_AGENT, "No agent found", 3, PROGRAMS, env=ONLY_THOSE),
    Refused((*RETRY, "--model", ""), "--model is empty"),
    Refused((*RETRY, "--permissions", "all"), "--permissions"),
    # Folders
    Refused((*RETRY, "-C", "nowhere"), "There is no folder nowhere."),
    Refused((*RETRY, "-C", "file"), "file is a file, not a folder."),
    Refused((*RETRY, "-C", ""), "-C is empty."),
    Refused((*RETRY, "-C", "/"), "/ is no folder for a loop"),
    Refused(RETRY, "/ is no folder for a loop", cwd="/", name="in /"),
    Refused((*RETRY, "-C", "{HOME}"), "is your home folder"),
    Refused(RETRY, "is your home folder", cwd="{HOME}", name="in the home folder"),
    Refused(RETRY, "is not writable", prepare="chmod 500 .", name="in a folder that can't be written"),
    Refused(RETRY, "is a bare repository", prepare="git init -q --bare", name="in a bare repository"),
    Refused(RETRY, "the inside of a .git folder", prepare=GIT, cwd="{place}/project/.git", name="in a .git"),
    Refused((*OPTIMIZE, "--setup", "npm ci"), "--setup goes with --worktree", prepare=GIT),
    Refused((*TREE, "--setup", " "), "--setup is empty", prepare=GIT),
    Refused((*TREE, "--setup-timeout", "5m"), "--setup-timeout goes with --setup", prepare=GIT),
    Refused((*TREE, "--branch", "a..b"), "\"a..b\" can't be a branch's name", prepare=GIT),
    Refused((*OPTIMIZE, "--branch", "-x"), "\"-x\" can't be a branch's name", prepare=GIT),
    Refused((*OPTIMIZE, "--branch", "main"), "There is a branch main already", prepare=GIT),
    Refused((*OPTIMIZE, "--branch", "main/x"), "Beside the branch main there can't be one named main/x", prepare=GIT),
    Refused(TREE, "is no git repository", name="a worktree of no repository"),
    Refused(TREE, "has no commit yet", prepare="git init -q", name="a worktree of nothing"),
    Refused(TREE, "which is inside", prepare=GIT, env={"BEATCTL_HOME": "{place}/project/state"}, name="a home inside"),
    # Command lines
    Refused((*RETRY, "-d", "--foreground"), "give one of them"),
    Refused((*RETRY, "--bogus"), "There is no flag --bogus."),
    Refused((*RETRY, "--until"), "--until needs a value."),
    Refused(("strat",), 'There is no command "strat". Did you mean start or status?'),
    Refused(("show", "1", "2"), "Two iteration numbers: 1 and 2."),
    Refused(("status", "k3f9"), 'No loop "k3f9".'),
    Refused(("status",), "No loops yet."),
    Refused(("show", "3"), "No loops yet."),
    Refused(("logs",), "No loops yet."),
    Refused(("diff",), "No loops yet."),
    Refused(("undo",), "No loops yet."),
    Refused(("pause",), "No loops yet."),
    Refused(("resume", "k3f9"), 'No loop "k3f9".'),
    Refused(("stop", "k3f9"), 'No loop "k3f9".'),
    Refused(("cancel",), "There is no loop to cancel."),
    Refused(("set", "k3f9"), "Which limit?"),
    Refused(("set", "k3f9", "--for", "8"), "--for 8 needs a unit"),
    Refused(("ui",), "No loops yet."),
    Refused(("gc", "k3f9"), 'No loop "k3f9".'),
    Refused(("gc", "--older-than", "30"), "--older-than 30 needs a unit"),
]


@dataclass(frozen=True)
class Baseline:
    """An evaluator with which no loop can begin: it is said before any agent runs, exit 3."""

    evaluator: str
    said: str
    words: tuple[str, ...] = ("--minimize",)


_NO_SCORE = "No score from the baseline; no agent ran."
BASELINE = {
    "is not found": Baseline("./gone.sh", "127"),
    "prints nothing": Baseline("true", _NO_SCORE),
    "prints text": Baseline("echo Done in 3.2s", 'Its last line was "Done in 3.2s"'),
    "exits 7": Baseline("echo 5; exit 7", "exit code 7"),
    "hangs": Baseline("echo 5; sleep 300", "timed out", ("--minimize", "--eval-timeout", "200ms")),
    "fails its check": Baseline("echo 5", "check", ("--minimize", "--check", "false")),
}


@dataclass(frozen=True)
class Running:
    """What an evaluator or an agent does in iteration 1 of a loop whose baseline scored 50.

    `evaluator`: shell in place of `cat n`, once the agent has written 40 there. `agent`: shell in place of just that.
    """

    verdicts: str
    """Of each iteration, with a space between."""
    reason: str = ""
    """In the first one's reason, or where it was kept in what the agent said."""
    evaluator: str = "cat n"
    agent: str = "echo 40 > n"
    words: tuple[str, ...] = ()


def _evaluator(script: str, reason: str, *words: str, verdict: str = "crash") -> Running:
    return Running(verdict, reason, evaluator=script, words=words)


def _rude(script: str) -> Running:
    """An agent that does this in iteration 1 and is discarded; the loop goes on."""
    return Running("discard keep", agent=f"[ $i = 1 ] && {{ {script}; echo 60 > n; exit 0; }}; echo 40 > n")


RUNNING = {
    "the evaluator prints nothing": _evaluator("true", "It printed nothing"),
    "the evaluator prints text": _evaluator("echo all fine", '"all fine"'),
    "the evaluator prints 12abc": _evaluator("echo 12abc", '"12abc"'),
    "the evaluator prints nan": _evaluator("echo nan", '"nan"'),
    "the evaluator prints 1e999": _evaluator("echo 1e999", '"1e999"'),
    "the evaluator prints bad JSON": _evaluator("echo '{\"score\": }'", "score"),
    "the evaluator prints 20 MB without a number": _evaluator("head -c 20000000 /dev/zero | tr '\\0' x", "xxx"),
    "the evaluator prints 20 MB and a number": _evaluator("seq 2700000; cat n", "", verdict="keep"),
    "the evaluator prints what is not UTF-8": _evaluator("printf '\\377\\376\\n'", 'Its last line was "\ufffd'),
    "the evaluator prints what is not UTF-8 and a number": _evaluator("printf '\\377\\n'; cat n", "", verdict="keep"),
    "the evaluator writes no number to its file": _evaluator("cat n; echo x > $BEATCTL_SCORE_FILE", '"x"'),
    "the evaluator hangs": _evaluator("sleep 300", "timed out", "--eval-timeout", "500ms", verdict="timeout"),
    "the evaluator leaves a child behind": _evaluator("(setsid sleep 327 &); cat n", "", verdict="keep"),
    "the evaluator changes files": _evaluator("rm -f mine.txt; echo x > junk.txt; cat n", "", verdict="keep"),
    "the agent exits 1": Running("crash", "agent.sh exited with 1", agent="echo 40 > n; exit 1"),
    "the agent is killed": Running("crash", "agent.sh was ended by SIGKILL", agent="echo 40 > n; kill -9 $$"),
    "the agent hangs": Running(
        "timeout",
        "after its time limit of 0.5 s",
        agent="echo 40 > n; sleep 300",
        words=("--agent-timeout", "500ms"),
    ),
    "the agent prints 50 MB": Running(
        "keep", "the end", agent="head -c 50000000 /dev/zero | tr '\\0' x; echo; echo 40 > n; echo the end"
    ),
    "the agent changes nothing": Running("discard", "changed nothing", agent="true"),
    "the agent deletes .git": _rude("rm -rf .git"),
    "the agent commits": _rude("git add -A; git -c user.name=a -c user.email=a@b commit -qm mine"),
    "the agent switches the branch": _rude("git checkout -qb other; git commit -q --allow-empty -m on-other"),
    "the agent empties .gitignore": _rude(": > .gitignore"),
    "the agent changes the index": _rude("git add -A; git rm -q --cached n"),
    "the agent installs a hook": _rude(
        "printf '#!/bin/sh\\ntouch hooked' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit"
    ),
    "the agent edits the config": _rude("git config user.name Evil; git config core.bare true"),
    "the agent drops the stash": _rude("git stash drop -q; git reset -q --hard"),
    "the agent rewrites the branch": _rude("git commit -q --amend -m rewritten; git tag evil; git gc -q --prune=now"),
    "the agent leaves a daemon": _rude("rm -f mine.txt; (setsid sleep 327 >/dev/null 2>&1 &)"),
}
