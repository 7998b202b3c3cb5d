"""The repository guard, where work trees, disks and users get in its way."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace, WorkspaceProblem, object_mirror
from tests.workspace import fingerprint
from tests.workspace.copies import KINDS, Damage, sh


@pytest.fixture
def linked(place: Path) -> Path:
    (place / "work/root").mkdir(parents=True)
    return KINDS["linked_worktree"](place / "work/root")


@pytest.fixture
def other_disk() -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or os.stat(memory).st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.skip("needs a second file system")
    folder = Path(tempfile.mkdtemp(prefix="bt-", dir=memory)).resolve()
    yield folder
    shutil.rmtree(folder)


def test_what_the_user_does_in_the_main_work_tree_meanwhile_stays(linked: Path, place: Path) -> None:
    main = linked.parent / "main"
    workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), linked)
    sh(main, "git commit -qam mine; git stash -q -u || true; echo more > more; git add more; git stash -q -m kept")
    sh(
        linked,
        "git commit -qam agent; git branch from-agent; git config x.y z; echo 1 > s; git add s; git pack-refs --all",
    )
    users = fingerprint.of(main)
    capture = workspace.capture("1", "m")
    assert {"branch side", "branch from-agent", "config"} <= set(capture.repaired)
    assert sh(main, "git log -1 --format=%s main").strip() == "mine"
    assert "kept" in sh(main, "git stash list")
    assert "from-agent" not in sh(main, "git branch")
    assert sh(main, "git config --get x.y || echo none").strip() == "none"
    same = {
        key: value for key, value in fingerprint.differences(users, fingerprint.of(main)).items() if "says s" in key
    }
    assert same == {}, "status and stash of the main work tree"


def test_two_loops_in_two_work_trees_of_one_repository_leave_each_other_alone(linked: Path, place: Path) -> None:
    other, home = linked.parent / "other", Home(place / "home").create()
    before = [fingerprint.of(linked), fingerprint.files(other)]
    one, two = Workspace.open(home.loop("one"), linked), Workspace.open(home.loop("two"), other)
    for number in range(3):
        (linked / "a.txt").write_text(f"one {number}")
        (other / "a.txt").write_text(f"two {number}")
        sh(linked, "git commit -qam one")
        sh(other, "git commit -qam two")
        first, second = one.capture(str(number), "m"), two.capture(str(number), "m")
        assert first.paths == second.paths == ["a.txt"]
        assert sh(other, "git log -1 --format=%s").strip() == "second"
    one.restore(one.baseline, None)
    two.restore(two.baseline, None)
    refs = sh(linked, "git for-each-ref --format='%(refname)'")
    assert all(f"refs/beatctl/{loop}/{number}" in refs for loop in ("one", "two") for number in range(3))
    left = fingerprint.differences(before[0], fingerprint.of(linked))
    assert {key for key in left if "logs/refs/heads/other" not in key} == set()
    assert fingerprint.files(other) == before[1]


def test_objects_are_kept_beside_the_repository_where_links_cannot_cross(other_disk: Path, place: Path) -> None:
    (place / "work").mkdir()
    root = KINDS["plain"](place / "work")
    before = fingerprint.of(root)
    workspace = Workspace.open(Home(other_disk).create().loop("k3f9"), root)
    assert workspace.warnings == []
    assert (place / ".beatctl-k3f9-objects").is_dir()
    Damage.repository_gone(root)
    workspace.capture("1", "m")
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    sh(root, "git fsck --full")
    workspace.close()
    assert not (place / ".beatctl-k3f9-objects").exists()


def test_objects_are_copied_where_no_link_is_possible(other_disk: Path, place: Path) -> None:
    (place / "work").mkdir()
    root = KINDS["plain"](place / "work")
    (place / ".beatctl-k3f9-objects").write_text("in the way")
    workspace = Workspace.open(Home(other_disk).create().loop("k3f9"), root)
    assert workspace.warnings == []
    shutil.rmtree(root / ".git")
    workspace.capture("1", "m")
    sh(root, "git fsck --full")


def test_a_git_that_cannot_be_put_back_is_said_and_nothing_else_is_touched(
    other_disk: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "work").mkdir()
    root = KINDS["plain"](place / "work")
    (place / ".beatctl-k3f9-objects").write_text("in the way")
    monkeypatch.setattr(object_mirror, "COPY_LIMIT", -1)
    workspace = Workspace.open(Home(other_disk).create().loop("k3f9"), root)
    assert "cannot be put back" in workspace.warnings[0]
    assert Workspace.load(workspace.folder).warnings == workspace.warnings
    files = fingerprint.files(root)
    (root / ".git").rename(place / "moved")
    with pytest.raises(WorkspaceProblem) as problem:
        workspace.capture("1", "m")
    assert problem.value.reason == "workspace"
    assert fingerprint.files(root) == files
    shutil.rmtree(root / ".git")
    (place / "moved").rename(root / ".git")
    assert workspace.capture("1", "m").snapshot


def test_a_git_moved_aside_comes_back_and_is_not_taken_for_content(place: Path) -> None:
    (place / "work").mkdir()
    root = KINDS["plain"](place / "work")
    before = fingerprint.of(root)
    workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
    sh(root, "mv .git .git.bak; git init -q -b other; git add .; git commit -qm all")
    capture = workspace.capture("1", "m")
    assert not [path for path in capture.paths if path.startswith(".git.bak")]
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_a_repository_the_user_makes_is_guarded_from_then_on(place: Path) -> None:
    (place / "work").mkdir()
    root = KINDS["no_repository"](place / "work")
    workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
    sh(root, "git init -q -b main; git add a.txt; git commit -qm mine")
    assert workspace.edits() == []
    before = fingerprint.of(root)
    sh(root, "echo x >> a.txt; git commit -qam agent; git checkout -q -b agents")
    workspace.capture("1", "m")
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    shutil.rmtree(root / ".git")
    workspace.capture("2", "m")
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_locks_of_the_users_own_git_are_neither_removed_nor_brought_back(place: Path) -> None:
    (place / "work").mkdir()
    root = KINDS["plain"](place / "work")
    (root / ".git/index.lock").touch()
    workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
    assert workspace.capture("1", "m").repaired == []
    assert (root / ".git/index.lock").exists()
    (root / ".git/index.lock").unlink()
    (root / ".git/HEAD.lock").touch()
    assert workspace.capture("2", "m").repaired == ["HEAD.lock"]
    assert not (root / ".git/index.lock").exists()
    assert not (root / ".git/HEAD.lock").exists()


def test_an_object_store_removed_from_a_nested_repository_comes_back(place: Path) -> None:
    (place / "work").mkdir()
    root = KINDS["nested_repository"](place / "work")
    before = fingerprint.of(root)
    workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
    shutil.rmtree(root / "vendor/lib/.git/objects")
    (root / "vendor/lib/.git/HEAD").unlink()
    shutil.rmtree(root / "vendor/lib/deeper")
    assert "vendor/lib: HEAD" in workspace.capture("1", "m").repaired
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    sh(root / "vendor/lib", "git fsck --full")
    sh(root / "vendor/lib/deeper", "git fsck --full")
