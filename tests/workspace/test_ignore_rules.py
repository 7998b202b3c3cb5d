"""Frozen ignore rules ignore what git ignores, no more and no less: too much would lose files, too little would take
in what a restore must not touch."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace
from beatctl.activities.workspace.ignore_rules import anchored
from tests.workspace.copies import sh

patterns = st.sampled_from(
    [
        *(b"a", b"b/", b"/a", b"/b/", b"a/b", b"/a/b", b"!a", b"!/b", b"!a/b", b"*", b"!*/", b"*.o", b"!x.o", b"**/a"),
        *(b"a/**", b"a/**/x.o", b"**", b"[ab]", b"?", b"#a", b"\\#a", b"\\!a", b"!", b"/", b"", b"a ", b"a\\ ", b"a\r"),
        *(b"b/*", b"!b/x.o", b"*/a", b"**/", b"/*", b"!/a/", b"a**", b"\xef\xbb\xbfa", b"sp ace", b"\\a", b"a\\", b"#"),
        *(b"//", b"a//b"),
    ]
)
names = [b"a", b"b", b"x.o", b"#a", b"!a", b"a ", b"sp ace", b"[z]"]
folders = [b"", b"a", b"b", b"a/b", b"b/a", b"[z]", b"sp ace", b"b/a/sp ace"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from([*folders, b"exclude"]), st.lists(patterns, max_size=4), max_size=4),
    st.sets(st.sampled_from([b"a", b"b/a", b"sp ace"]), max_size=1),
)
@example({b"": [b"*", b"!*/"], b"a": [b"!x.o"], b"exclude": [b"a"]}, {b"a"})
def test_frozen_rules_ignore_exactly_what_git_ignores(rules: dict[bytes, list[bytes]], nested: set[bytes]) -> None:
    place = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    try:
        root = place / "work"
        root.mkdir()
        base = os.fsencode(root)
        for folder in folders:
            os.makedirs(os.path.join(base, folder), exist_ok=True)
        for folder in folders:
            for name in names:
                path = os.path.join(base, folder, name)
                if not os.path.isdir(path):
                    Path(os.fsdecode(path)).write_bytes(b"x")
        repositories = ["", *(os.fsdecode(path) for path in nested)]
        for repository in repositories:
            sh(root / repository, "git init -q")
        for folder, lines in rules.items():
            where = ".git/info/exclude" if folder == b"exclude" else os.path.join(os.fsdecode(folder), ".gitignore")
            (root / where).write_bytes(b"\n".join(lines))
        expected: set[bytes] = set()
        for repository in repositories:
            if repository and _ignored_folder(root, repository):
                continue
            out = subprocess.run(
                ["git", "ls-files", "-o", "-z", "--exclude-standard"],
                cwd=root / repository,
                capture_output=True,
                check=True,
            ).stdout
            prefix = os.fsencode(repository) + b"/" if repository else b""
            expected |= {prefix + path for path in out.split(b"\0")[:-1] if not path.endswith(b"/")}
        workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
        listed = sh(root, f"git ls-tree -r -z --name-only {workspace.baseline}")
        assert {os.fsencode(path) for path in listed.split("\0")[:-1]} == expected
        assert workspace.edits() == []
    finally:
        shutil.rmtree(place)


def _ignored_folder(root: Path, path: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", path], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (b"x", [b"/d\\[1\\]/**/x"]),
        (b"/x", [b"/d\\[1\\]/x"]),
        (b"x/", [b"/d\\[1\\]/**/x/"]),
        (b"!x/y", [b"!/d\\[1\\]/x/y"]),
        (b"# no", []),
        (b"/", []),
        (b"\\#x  ", [b"/d\\[1\\]/**/#x"]),
    ],
)
def test_a_pattern_is_anchored_at_its_folder(line: bytes, lines: list[bytes]) -> None:
    assert anchored(line, b"d[1]") == lines
