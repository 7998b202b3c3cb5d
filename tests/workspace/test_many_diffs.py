"""Many diffs at once say what each diff says, with the folder there or gone."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace
from beatctl.activities.workspace.many_diffs import Diff

HEADING = f"{'a' * 40} {'b' * 40}\n"


@pytest.mark.parametrize("repository", [True, False])
def test_each_diff_is_the_one_that_is_shown_alone_and_the_folder_may_be_gone(place: Path, repository: bool) -> None:
    root = place / "project"
    root.mkdir()
    (root / "a.txt").write_text("".join(f"line {number}\n" for number in range(50)))
    (root / "odd\nname").write_text("one\n")
    if repository:
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    workspace = Workspace.open(Home(place / "state").loop("k3f9"), root)
    snapshots = [workspace.baseline]

    def take() -> None:
        snapshots.append(workspace.capture(str(len(snapshots)), "x").snapshot)

    (root / "a.txt").write_text((root / "a.txt").read_text().replace("line 7\n", HEADING))
    take()
    (root / "a.txt").rename(root / "b.txt")
    (root / "odd\nname").write_bytes(b"\0binary")
    take()
    (root / "large.txt").write_text("0123456789\n" * 200_000)
    take()
    (root / "bare").write_text(HEADING + "\n" + "no newline at the end")
    take()

    pairs = [*pairwise(snapshots), (snapshots[0], snapshots[-1]), (snapshots[1], snapshots[1])]
    alone = {pair: workspace.diff(*pair) for pair in pairs if pair[1] != snapshots[3]}
    found = workspace.diffs([*pairs, (snapshots[0], "f" * 40)], most=100_000)
    assert set(found) == set(pairs)
    large = found[snapshots[2], snapshots[3]].text
    assert b"large.txt" in large
    assert len(large) < 1000
    for pair, text in alone.items():
        if b"0123456789" not in text:
            assert found[pair] == Diff(text, len(text))
    assert found[snapshots[1], snapshots[1]] == Diff(b"", 0)

    whole = found[snapshots[0], snapshots[1]]
    (cut,) = workspace.diffs([(snapshots[0], snapshots[1])], most=100).values()
    assert cut.size == whole.size
    assert whole.text.startswith(cut.text)
    assert len(cut.text) <= 100
    assert cut.text.endswith(b"\n")

    shutil.rmtree(root)
    if not repository:  # the snapshots are in a store of the loop's own
        assert Workspace.load(workspace.folder).diffs(pairs, most=100_000) == found
