"""`make test-cluster`: loops, kills and a look into the database on a real cluster. Exits 1 if a check fails."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from beatctl.worker.server_program import find_or_fetch
from tests.bench.figures import heading, line
from tests.chaos.plan import make_plan
from tests.chaos.runs import disturbed_beside_undisturbed
from tests.cluster.cluster import DATABASES, Cluster
from tests.cluster.programs import VERSION, Missing, Programs, programs
from tests.cluster.words import found_in
from tests.support import CLUSTER, Beatctl, clean_environment, remove_tree

WORDS = ("zebras", "giraffes", "okapis", "gazelles", "wildebeest")
"""Told to a loop as its goal, by its agent, its evaluator, a note, and its check."""
CLEAR = "clear"
"""A namespace whose loops are not encrypted."""

Check = Callable[[str, bool, str], None]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-cluster", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", choices=["all", "loops", "kills"], default="all")
    parser.add_argument("pytest", nargs="*", help="for pytest, which runs the tests of loops; else all in tests/loops")
    given = parser.parse_args()
    # As Ctrl-C does: what runs in the background by then is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        parts = programs(_say)
    except Missing as missing:
        _say(str(missing))
        return 3
    embedded = str(find_or_fetch(os.environ, _say))
    started = time.monotonic()
    # Kills leave the machine idle most of the time, and the tests must not feel them: they have a cluster of their own.
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115
    beside = _start_loops(given.pytest, output) if given.parts == "all" else None
    wrong: list[str] = []

    def check(what: str, right: bool, value: str) -> None:
        line(what, value)
        if not right:
            wrong.append(what)

    try:
        with _cluster(parts, wrong) as cluster:
            if given.parts == "loops":
                _loops(given.pytest, check)
            else:
                _set_up(cluster.folder, embedded, cluster, check)
                _chaos(cluster.folder, embedded, cluster, given.kills, given.seed, check)
                _look_into_the_database(cluster.folder, embedded, cluster, check)
        if beside is not None:
            beside.wait()
            output.seek(0)
            print(output.read(), flush=True)
            check("tests of loops: exit code", beside.returncode == 0, str(beside.returncode))
            line("all of it took", f"{time.monotonic() - started:.0f} s", f"load {os.getloadavg()[0]:.1f}")
    finally:
        if beside is not None and beside.poll() is None:
            beside.terminate()
            beside.wait()
    for what in wrong:
        print(f"! {what}", flush=True)
    return 1 if wrong else 0


def _start_loops(words: list[str], output: IO[str]) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "tests.cluster", "--parts", "loops", "--", *words]
    return subprocess.Popen(line, stdout=output, stderr=output)


@contextmanager
def _cluster(parts: Programs, wrong: list[str]) -> Iterator[Cluster]:
    """One in a folder of its own, which all of this process's tests are on."""
    folder = Path(tempfile.mkdtemp(prefix="bt-cluster-")).resolve()
    cluster = Cluster(folder, parts)
    began = time.monotonic()
    try:
        cluster.start()
        heading(f"Temporal {VERSION} on PostgreSQL, TLS both ways, payloads encrypted")
        line("cluster up after", f"{time.monotonic() - began:.1f} s")
        os.environ[CLUSTER] = json.dumps(cluster.environ)
        yield cluster
    finally:
        cluster.close()
        if wrong:
            _say(f"The server's log: {_kept(folder)}")
        remove_tree(folder)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _set_up(folder: Path, program: str, cluster: Cluster, check: Check) -> None:
    command = Beatctl(clean_environment(folder / "setting-up", program))

    def steps() -> list[Any]:
        done = command("setup-cluster", "--json", cwd=folder, expect=(0, 3)).json
        return [step["state"] for step in done["steps"]]

    first, second = steps(), steps()
    check("setup-cluster made", set(first) == {"made"}, str(first.count("made")))
    check("setup-cluster again: was there", set(second) == {"there"}, str(second.count("there")))
    for what, more in {
        "without TLS": {},
        "without a client's certificate": {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(folder / "tls" / "ca.pem")},
    }.items():
        away = {"BEATCTL_PROFILE": "", "TEMPORAL_ADDRESS": cluster.address, **more}
        refused = command("setup-cluster", "--dry-run", cwd=folder, env=away)
        words = refused.stderr.strip().splitlines()[-1]
        check(f"{what}: refused", refused.exit_code == 3 and words.startswith("No Temporal server answers"), words)
    cluster.kill_server(refusing=True)
    steps_ = command("setup-cluster", "--json", cwd=folder, expect=3).json["steps"]
    told = all(step["state"] == "lacking" and step["command"].startswith("temporal operator ") for step in steps_)
    check("without the right to: lacking, with a command for each", told, str(len(steps_)))
    cluster.kill_server()


def _loops(more: list[str], check: Check) -> None:
    """Each test's home is a host of its own on the one server."""
    done = subprocess.run([sys.executable, "-m", "beatctl.cli.entry", "setup-cluster"], env=_of_cluster(), check=False)
    check("setup-cluster: exit code", done.returncode == 0, str(done.returncode))
    words = [
        "-q",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "-p",
        "no:cacheprovider",
        "-m",
        "not real_agents and not own_server",
    ]
    # As in CI: beside the kills the machine has other work, too. The closing lines name a test that had a second try.
    words += ["--reruns", "1", "-rR"]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pytest", *words, *(more or ["tests/loops"])], check=False)
    check("tests of loops pass", done.returncode == 0, f"{time.monotonic() - began:.0f} s")


def _of_cluster() -> dict[str, str]:
    cluster: dict[str, str] = json.loads(os.environ[CLUSTER])
    home = Path(cluster["TEMPORAL_CONFIG_FILE"]).parent / "setting-up"
    return {**clean_environment(home, None), **cluster}


def _chaos(folder: Path, program: str, cluster: Cluster, kills: int, seed: int, check: Check) -> None:
    (folder / "chaos").mkdir()
    began = time.monotonic()

    def say(text: str) -> None:
        _say(f"  {time.monotonic() - began:6.1f} s  {text}")

    outcome = disturbed_beside_undisturbed(folder / "chaos", program, seed, make_plan(seed, kills), say, cluster)
    outcome.print(compared=True)
    check("nothing lost, repeated or different", outcome.failed() == [], f"{time.monotonic() - began:.0f} s")


def _look_into_the_database(folder: Path, program: str, cluster: Cluster, check: Check) -> None:
    heading("What a dump of the database holds of a loop's words")
    _tell_words(folder / "secret", program, {})
    dumps = {database: cluster.dump(database) for database in DATABASES}
    found = [word for dump in dumps.values() for word in found_in(dump, (*WORDS, "make the sum small"))]
    size = sum(map(len, dumps.values()))
    check("encrypted: words found", found == [], f"{len(found)} of {len(WORDS)}, in {size / 1e6:.1f} MB")
    # The same again in the clear: were the search blind, it would find nothing here either.
    _tell_words(folder / "clear", program, {"BEATCTL_PAYLOAD_KEY_FILE": "", "TEMPORAL_NAMESPACE": CLEAR})
    found = found_in(cluster.dump("temporal"), WORDS)
    check("the same without a key: words found", set(found) == set(WORDS), f"{len(found)} of {len(WORDS)}")


def _tell_words(folder: Path, program: str, env: dict[str, str]) -> None:
    """A loop that is told every word, in a home of its own."""
    folder.mkdir()
    (folder / "project").mkdir()
    command = Beatctl({**clean_environment(folder, program), **env})
    goal, agent, evaluator, note, check = WORDS
    words = [
        "start",
        f"feed the {goal}",
        "-a",
        f"sh -c 'echo {agent}; date +%N > f; test -f {folder}/go && touch made'",
    ]
    words += ["--until", f"echo {evaluator}; test -f made", "--check", f"echo {check}", "-n", "0", "--max-cost", "1"]
    words += ["--max-failures", "0", "--max-unchanged", "0", "--cooldown", "200", "-d", "--json"]
    try:
        command("setup-cluster", cwd=folder, expect=0)
        loop = command(*words, cwd=folder / "project", expect=0).json["id"]
        command("note", loop, f"mind the {note}", cwd=folder, expect=0)
        command.until(loop, "two iterations", lambda status: status["iteration"] > 2, cwd=folder)
        (folder / "go").touch()
        command.until(loop, "the end", lambda status: status["state"] == "finished", cwd=folder, timeout_s=120)
    finally:
        command.close()


def _kept(folder: Path) -> Path:
    kept = Path(tempfile.mkdtemp(prefix="bt-cluster-log-")) / "server.log"
    kept.write_bytes((folder / "server.log").read_bytes() if (folder / "server.log").exists() else b"")
    return kept


if __name__ == "__main__":
    sys.exit(main())
