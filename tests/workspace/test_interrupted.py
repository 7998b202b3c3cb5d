"""An operation that is killed anywhere, and called again by another process, still loses nothing."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.workspace import Workspace
from tests.workspace import fingerprint
from tests.workspace.copies import KINDS, Damage

WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.symlink", "subprocess.Popen"}


def killed_at(moment: int, action: Callable[[], object]) -> bool:
    """Run `action` in a process that is killed just before its nth change to the world. False: it ended before that."""
    child = os.fork()
    if child == 0:
        left = moment

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in WRITES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def moments(action: Callable[[int], bool], number: int) -> None:
    """Try `action` with the first moments, some further ones chosen at random, until one comes after its end."""
    chooser, moment = random.Random(3), 0
    for _ in range(number):
        if not action(moment):
            return
        moment += chooser.randint(1, 7)


@pytest.fixture
def root(place: Path) -> Path:
    (place / "work").mkdir()
    return KINDS["nested_repository"](place / "work")


def load(folder: LoopFolder) -> Workspace:
    return Workspace.load(folder)


@pytest.mark.parametrize("damage", ["files", "repository"])
def test_a_killed_capture_or_restore_is_made_good_by_the_next(damage: str, place: Path, root: Path) -> None:
    before = fingerprint.of(root)
    folder = Home(place / "home").create().loop("k3f9")
    baseline = Workspace.open(folder, root).baseline
    {"files": Damage.files, "repository": Damage.repository}[damage](root)
    after_agent = fingerprint.files(root)

    moments(lambda moment: killed_at(moment, lambda: load(folder).capture("1", "m")), 12)
    captured = load(folder).capture("1", "m")
    assert captured.changed
    assert fingerprint.differences(pipeless(after_agent), pipeless(fingerprint.files(root))) == {}

    def restored(snapshot: str) -> Callable[[int], bool]:
        return lambda moment: killed_at(moment, lambda: load(folder).restore(snapshot, "left"))

    moments(restored(baseline), 14)
    load(folder).restore(baseline, "left")
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    moments(restored(captured.snapshot), 14)
    load(folder).restore(captured.snapshot, "left")
    assert fingerprint.differences(pipeless(after_agent), pipeless(fingerprint.files(root))) == {}
    load(folder).undo()
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_a_restore_that_is_killed_and_repeated_keeps_all_that_it_has_undone(place: Path, root: Path) -> None:
    folder = Home(place / "home").create().loop("k3f9")
    baseline = Workspace.open(folder, root).baseline
    Damage.files(root)
    after_agent = fingerprint.files(root)
    moments(lambda moment: killed_at(moment, lambda: load(folder).restore(baseline, "left")), 30)
    load(folder).restore(baseline, "left")
    held = load(folder).trailers("left")
    assert held is not None
    load(folder).restore(held[0], None)
    assert fingerprint.differences(pipeless(after_agent), pipeless(fingerprint.files(root))) == {}


def test_a_killed_opening_leaves_nothing_behind_in_the_folder(place: Path, root: Path) -> None:
    before = fingerprint.of(root)
    folder = Home(place / "home").create().loop("k3f9")
    moments(lambda moment: killed_at(moment, lambda: Workspace.open(folder, root)), 12)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    workspace = Workspace.open(folder, root)
    Damage.files(root)
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_a_git_that_is_put_back_and_killed_half_way_comes_back_whole(place: Path, root: Path) -> None:
    before = fingerprint.of(root)
    folder = Home(place / "home").create().loop("k3f9")
    baseline = Workspace.open(folder, root).baseline
    Damage.repository_gone(root)
    moments(lambda moment: killed_at(moment * 3, lambda: load(folder).capture("1", "m")), 12)
    load(folder).restore(baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_edits_that_are_killed_are_taken_in_the_next_time(place: Path, root: Path) -> None:
    folder = Home(place / "home").create().loop("k3f9")
    baseline = Workspace.open(folder, root).baseline
    Damage.repository(root)
    after = fingerprint.of(root)
    moments(lambda moment: killed_at(moment, lambda: load(folder).edits()), 10)
    load(folder).edits()
    load(folder).capture("1", "m")
    assert fingerprint.differences(after, fingerprint.of(root)) == {}
    load(folder).restore(baseline, None)


def pipeless(found: fingerprint.Fingerprint) -> fingerprint.Fingerprint:
    return {key: value for key, value in found.items() if not value.startswith("other")}
