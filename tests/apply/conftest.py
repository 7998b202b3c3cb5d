"""A loop with six kept experiments in a repository with everything in it, run once; each test gets it as it ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import Beatctl, Done, remove_tree

REPOSITORY = r"""
git init -q -b main .
git config core.autocrlf true
git config filter.up.clean 'tr a-z A-Z'; git config filter.up.smudge 'tr A-Z a-z'
printf '*.sh text eol=lf\n*.up filter=up\n*.bin binary\n' > .gitattributes
printf 'node_modules/\n*.log\n' > .gitignore
seq -f 'line %g' 40 | sed 's/$/\r/' > dos.txt
seq -f 'def f%g(): pass' 40 > shared.py
seq -f 'text %g' 30 > moved.txt
echo small > f.up; echo 100 > n; echo gone > gone.txt; echo '#!/bin/sh' > run.sh; printf '\0\1\2' > data.bin
echo one > staged.txt; echo one > both.txt; echo one > removed.txt
git add -A 2>/dev/null; git commit -qm first; git tag v1
"""
EDITS = r"""
sed -i '1s/.*/mine = 1/' shared.py
echo staged > staged.txt; git add staged.txt
echo staged > both.txt; git add both.txt; echo more >> both.txt
rm removed.txt
echo mine > untracked.txt; echo new > added.txt; git add added.txt
mkdir -p node_modules/.bin; printf '#!/bin/sh\nexit 0\n' > node_modules/.bin/lint; chmod +x node_modules/.bin/lint
echo log > x.log
"""
AGENT = r"""
echo $((100 - i)) > n
case $i in
1) sed -i '20s/.*/line twenty\r/' dos.txt; sed -i '30s/.*/def agent(): return 1/' shared.py;;
2) git mv -f moved.txt new-name.txt 2>/dev/null || mv moved.txt new-name.txt; printf '\0\3\4' > data.bin;;
3) echo 1000 > n; echo junk > junk.txt;;
4) rm gone.txt; chmod +x run.sh; ln -s dos.txt link; mkdir -p deep/er; echo x > "deep/er/odd
 name $(printf '\303\251')";;
5) echo smaller > f.up; sed -i 's/\r$//' dos.txt;;
6) exit 7;;
7) sed -i '31s/.*/def later(): return 2/' shared.py; sed -i '21s/.*/line 21 again/' dos.txt;;
8) sed -i 's/$/\r/' new-name.txt; printf '\377\376' > "$(printf 'b\351d')";;
esac
echo "# Step $i: lower n"
"""
KEPT = [1, 2, 4, 5, 7, 8]
HOOK = """#!/bin/sh
cd "$(git rev-parse --show-toplevel)"
node_modules/.bin/lint || exit 1
echo "NAME $(git symbolic-ref -q --short HEAD) $(git status --porcelain | grep -c '^??')" >> LOG
"""


def sh(folder: Path, script: str, environ: dict[str, str]) -> str:
    done = subprocess.run(["sh", "-ec", script], cwd=folder, env=environ, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{script}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode("utf-8", "surrogateescape")


@dataclass
class Ended:
    """A loop that has ended, its repository and the command."""

    beatctl: Beatctl
    id: str
    root: Path

    def sh(self, script: str) -> str:
        return sh(self.root, script, self.beatctl.environ).rstrip("\n")

    def __call__(self, *words: str, expect: int = 0, env: dict[str, str] | None = None) -> Done:
        return self.beatctl(*words, cwd=self.root, expect=expect, env=env)

    def apply(self, *words: str, expect: int = 0, env: dict[str, str] | None = None) -> Done:
        return self("apply", self.id, *words, expect=expect, env=env)

    def hook(self, name: str, text: str) -> Path:
        """Install a hook; the file that its LOG stands for."""
        log = self.root.parent / "hooks.log"
        log.unlink(missing_ok=True)
        path = self.root / ".git" / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("LOG", str(log)).replace("NAME", name))
        path.chmod(0o755)
        return log

    def rows(self) -> list[Any]:
        return list(json.loads(self("show", self.id, "--json").stdout))


@pytest.fixture(scope="session")
def first_ended(shared_beatctl: Beatctl) -> Iterator[Ended]:
    """The loop itself, run once."""
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    root = folder / "repo"
    root.mkdir()
    environ = shared_beatctl.environ
    sh(root, REPOSITORY + EDITS, environ)
    agent = folder / "agent.sh"
    agent.write_text(f"#!/bin/sh\ni=$BEATCTL_ITERATION\n{AGENT}")
    agent.chmod(0o755)
    words = ("lower n", "--eval", "cat n", "--minimize", "-a", f"{agent} {{prompt_file}}", "-n", "8", "--json")
    status = shared_beatctl("start", *words, cwd=root, expect=0).json
    loop = Ended(shared_beatctl, str(status["id"]), root)
    assert [row["iteration"] for row in loop.rows() if row["verdict"] == "keep"] == KEPT
    for source, name in ((root, "root"), (shared_beatctl.home / "loops" / loop.id, "loop")):
        shutil.copytree(source, folder / name, symlinks=True)
    yield loop
    remove_tree(folder)


@pytest.fixture
def ended(first_ended: Ended) -> Ended:
    """The loop as it ended, in the folder where it ran."""
    folder = first_ended.root.parent
    home = first_ended.beatctl.home / "loops" / first_ended.id
    for kept, place in ((folder / "root", first_ended.root), (folder / "loop", home)):
        remove_tree(place)
        shutil.copytree(kept, place, symlinks=True)
    for link in first_ended.root.rglob("*"):
        if link.is_symlink():
            os.utime(link, follow_symlinks=False)
    return first_ended
