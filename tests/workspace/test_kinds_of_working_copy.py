"""Every kind of working copy comes back exactly, whatever an agent did to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace
from tests.workspace import fingerprint
from tests.workspace.copies import KINDS, Damage, sh

DAMAGES: dict[str, Callable[[Path], None]] = {
    "files": Damage.files,
    "repository": Damage.repository,
    "repository-gone": Damage.repository_gone,
    "repository-moved": Damage.repository_moved,
}


@pytest.fixture
def outside(place: Path) -> Path:
    folder = place / "work"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_back(kind: str, damage: str, place: Path, outside: Path) -> None:
    (outside / "root").mkdir()
    root = KINDS[kind](outside / "root")
    before, around = fingerprint.of(root), _around(outside, root)
    workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}, "opening changed something"
    assert workspace.edits() == []

    DAMAGES[damage](root)
    (outside / "hooks-ran").unlink(missing_ok=True)  # the agent's own git ran them
    captured = Workspace.load(workspace.folder).capture("1", "an agent ran")
    after_agent = fingerprint.files(root)
    Workspace.load(workspace.folder).restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    assert fingerprint.differences(around, _around(outside, root)) == {}
    assert workspace.edits() == []

    # What the agent left comes back just as exactly, and goes again.
    workspace.restore(captured.snapshot, None)
    assert fingerprint.differences(_without_pipes(after_agent), _without_pipes(fingerprint.files(root))) == {}
    workspace.undo()
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    workspace.close()
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    assert not (outside / "hooks-ran").exists(), "a hook of the user's ran"
    assert not list(outside.glob(".beatctl*"))
    if (root / ".git").exists():
        sh(root, "git -c core.fsmonitor=false fsck --connectivity-only")


def _around(outside: Path, root: Path) -> fingerprint.Fingerprint:
    """What lies beside the workspace: nothing of it may change. Other git directories may get objects and refs."""
    found = fingerprint.files(outside)
    inner = f"tree {root.relative_to(outside)}"
    return {
        key: value
        for key, value in found.items()
        if key != inner and not key.startswith(inner + "/") and "/objects" not in key and "beatctl" not in key
    }


def _without_pipes(found: fingerprint.Fingerprint) -> fingerprint.Fingerprint:
    return {key: value for key, value in found.items() if not value.startswith("other")}
