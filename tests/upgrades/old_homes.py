"""Homes that earlier versions of beatctl left: how one is recorded, and how it is brought back somewhere else.

`python -m tests.upgrades.old_homes NAME` runs loops with the version at hand and packs their home and folders as
`homes/NAME.tar.gz`. Server and logs are left out: what a home is worth without its server is what an upgrade must keep.
A home is never recorded anew: it is what a version left.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from beatctl.worker.server_program import find_or_fetch
from tests.support import Beatctl, clean_environment, remove_tree, wait_until

HOMES = Path(__file__).parent / "homes"
PLACE = Path("/tmp/beatctl-home")
STEP = "echo $(($(cat n) - 1)) > n"
_LEFT_OUT = ("logs", "run", "server")


def unpack(name: str, place: Path) -> Path:
    """Bring a home back in the folder `place`, every path in it as if it had been made there. Returns the home."""
    with tarfile.open(HOMES / f"{name}.tar.gz") as archive:
        archive.extractall(place, filter="tar")
    for path in sorted(place.rglob("*")):
        if path.is_file() and not path.is_symlink():
            _move(path, bytes(PLACE), bytes(place))
    owners = place / "state" / "owners"
    for path in owners.glob("*.json"):
        root = json.loads(path.read_bytes())["root"]
        path.rename(owners / f"{hashlib.sha256(root.encode()).hexdigest()[:24]}.json")
    return place / "state"


def _move(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    if old not in data:
        return
    if data.startswith(b"SQLite format 3\0"):
        _move_ledger(path, old.decode(), new.decode())
        return
    head, _, rest = data.partition(b"\n")
    if len(head.split()) == 2 and head[:8] == b"%08x" % zlib.crc32(rest[: int(head.split()[1])]):
        rest = rest[: int(head.split()[1])].replace(old, new)  # a note, behind its checksum and length
        path.write_bytes(b"%08x %d\n" % (zlib.crc32(rest), len(rest)) + rest)
    else:
        path.write_bytes(data.replace(old, new))


def _move_ledger(path: Path, old: str, new: str) -> None:
    ledger = sqlite3.connect(path)
    tables = [name for (name,) in ledger.execute("select name from sqlite_master where type = 'table'")]
    for table in tables:
        for _, column, *_ in ledger.execute(f"pragma table_info({table})").fetchall():
            ledger.execute(
                f"update {table} set {column} = replace({column}, ?, ?) where typeof({column}) = 'text'",
                (old, new),
            )
    ledger.commit()
    ledger.close()


def record(name: str, program: str) -> None:
    """Run loops of several kinds, end the server, and pack what there is."""
    PLACE.mkdir()
    beatctl = Beatctl(clean_environment(PLACE, program))
    try:
        _run_loops(beatctl)
        beatctl.close()
        _pack(name, beatctl.home)
    finally:
        beatctl.close()
        remove_tree(PLACE)


def _folder(name: str, environ: dict[str, str]) -> Path:
    folder = PLACE / name
    folder.mkdir()
    (folder / "n").write_text("50\n")
    (folder / ".gitignore").write_text("ignored/\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, env=environ, check=True)
    shutil.rmtree(folder / ".git" / "hooks")
    (folder / "mine").write_text("not committed\n")
    return folder


def _agent(name: str, body: str) -> str:
    path = PLACE / f"{name}.sh"
    path.write_text(f"#!/bin/sh\ni=$BEATCTL_ITERATION\n{body}\n")
    path.chmod(0o755)
    return f"{path} {{prompt_file}}"


def _run_loops(beatctl: Beatctl) -> None:
    told = """echo '{"result": "took one off", "total_cost_usd": 0.25}'"""
    agent = _agent("agent", f"[ $i = 2 ] && exit 0; [ $i = 3 ] && exit 7; {STEP}; {told}")
    minimize = ("--eval", "cat n", "--minimize", "-a", agent)

    folder = _folder("optimize", beatctl.environ)
    beatctl("start", "lower n", *minimize, "-n", "5", "--check", "test -e n", cwd=folder, expect=0)

    folder = _folder("retry", beatctl.environ)
    beatctl("start", "make it zero", "--until", "test $(cat n) = 0", "-a", agent, "-n", "2", cwd=folder, expect=1)

    folder = _folder("pipeline", beatctl.environ)
    steps = ("--step", "take one off", "--step", "take another off")
    beatctl("start", "in two steps", *steps, *minimize, "-n", "2", cwd=folder, expect=0)

    folder = _folder("cancelled", beatctl.environ)
    slow = _agent("slow", "echo 7 > n; [ $i = 1 ] || sleep 600")
    done = beatctl(
        *("start", "cancelled on the way", "--eval", "cat n", "--minimize", "-a", slow, "-d", "--json"), cwd=folder
    )
    loop = done.json["id"]
    wait_until(lambda: beatctl("show", loop, "--json", cwd=folder).json[1:], "the first row")
    beatctl("cancel", loop, cwd=folder, expect=(0, 4))

    folder = PLACE / "no-git"
    folder.mkdir()
    (folder / "n").write_text("50\n")
    beatctl("start", "outside git", *minimize, "-n", "1", cwd=folder, expect=0)

    folder = _folder("paused", beatctl.environ)
    words = (*minimize, "-n", "9", "--cooldown", "1h", "-d", "--json")
    loop = beatctl("start", "paused for the night", *words, cwd=folder).json["id"]
    wait_until(lambda: beatctl("show", loop, "--json", cwd=folder).json[1:], "the first row")
    beatctl("note", loop, "mind the gap", cwd=folder, expect=0)
    beatctl("pause", loop, cwd=folder, expect=0)
    wait_until(lambda: beatctl("status", loop, "--json", cwd=folder).json["state"] == "paused", "the pause")


def _pack(name: str, home: Path) -> None:
    for left_out in _LEFT_OUT:
        shutil.rmtree(home / left_out, ignore_errors=True)
    for path in (*home.glob("temporal*"), *home.glob("server*")):
        path.unlink()
    ledger = sqlite3.connect(home / "ledger.db")
    ledger.execute("pragma journal_mode=delete")  # one file
    ledger.close()
    for path in home.rglob("environment.json"):
        path.write_text("{}")  # of the person who recorded it
    for path in home.rglob("started"):
        path.write_text(re.sub(r'"(boot_id|host)": "[^"]*"', r'"\1": "elsewhere"', path.read_text()))

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    HOMES.mkdir(exist_ok=True)
    target = HOMES / f"{name}.tar.gz"
    with tarfile.open(target, "w:gz") as archive:
        for path in sorted(PLACE.iterdir()):
            if path.name != "home":
                archive.add(path, path.name, filter=plain)
    print(f"{target}: {target.stat().st_size:,} bytes")


def main(names: Iterable[str]) -> None:
    for name in names:
        if (HOMES / f"{name}.tar.gz").exists():
            sys.exit(f"{name} is there: a home that an earlier version left is not recorded anew. Choose another name.")
        record(name, str(find_or_fetch(os.environ, print)))


if __name__ == "__main__":
    main(sys.argv[1:])
