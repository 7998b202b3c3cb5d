"""What a loop relies on: answers of edits, capture, restore, label, diff; the user's work never lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from beatctl.activities.home import Home, LoopFolder
from beatctl.activities.workspace import Workspace, WorkspaceProblem, WorkspaceRefused, check_directory, find_root
from beatctl.activities.workspace.git import Git
from beatctl.activities.workspace.problems import explained
from tests.workspace import fingerprint
from tests.workspace.copies import KINDS, sh


@pytest.fixture
def root(place: Path) -> Path:
    (place / "work").mkdir()
    return KINDS["plain"](place / "work")


@pytest.fixture
def folder(place: Path) -> LoopFolder:
    return Home(place / "home").create().loop("k3f9")


@pytest.fixture
def workspace(root: Path, folder: LoopFolder) -> Workspace:
    return Workspace.open(folder, root)


def test_edits_are_named_and_touching_is_no_edit(workspace: Workspace, root: Path) -> None:
    assert workspace.edits() == []
    (root / "a.txt").touch()
    assert workspace.edits() == []
    (root / "a.txt").write_text("mine")
    (root / "new").mkdir()
    (root / "new/file").write_text("mine")
    (root / "none").mkdir()
    (root / "run.sh").chmod(0o700)
    (root / "src/deep/x").unlink()
    (root / "x.log").write_text("ignored")
    assert workspace.edits() == ["a.txt", "new/file", "none/", "run.sh", "src/deep/x"]


def test_a_users_commit_between_children_stays(workspace: Workspace, root: Path) -> None:
    sh(root, "git add -A; git commit -qm mine; git checkout -q -b mine; git config x.y z; git stash list")
    assert workspace.edits() == []
    before = fingerprint.of(root)
    (root / "a.txt").write_text("agent")
    sh(root, "git commit -qam agent; git checkout -q main")
    capture = workspace.capture("1", "agent")
    assert "HEAD" in capture.repaired
    assert "branch mine" in capture.repaired
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_a_users_edit_taken_in_as_a_snapshot_keeps_the_users_repository(workspace: Workspace, root: Path) -> None:
    (root / "a.txt").write_text("mine")
    sh(root, "git commit -qam mine")
    capture = workspace.capture("13", "edits", child_ran=False)
    assert (capture.changed, capture.paths, capture.repaired) == (True, ["a.txt"], [])
    assert sh(root, "git log -1 --format=%s").strip() == "mine"
    assert workspace.edits() == []


def test_a_snapshot_is_not_lost_when_git_is_deleted_right_after_it_was_labelled(
    workspace: Workspace, root: Path
) -> None:
    labels = [workspace.label("0", {"Beatctl-Score": str(number)}) for number in range(20)]
    sh(root, "rm -rf .git")
    assert ".git" in workspace.capture("1", "agent").repaired
    for label in labels:
        assert workspace.holds(label)


def test_a_restore_vouches_for_the_folder_for_a_moment_and_no_capture_does(workspace: Workspace, root: Path) -> None:
    workspace.restore(workspace.baseline, None)
    (root / "a.txt").write_text("mine")
    assert workspace.edits(restored_s=600.0) == []
    assert workspace.edits(restored_s=1e-9) == workspace.edits() == ["a.txt"]
    workspace.capture("13", "edits", child_ran=False)
    (root / "a.txt").write_text("mine again")
    assert workspace.edits(restored_s=600.0) == ["a.txt"]


def test_a_capture_tells_what_changed(workspace: Workspace, root: Path) -> None:
    assert not workspace.capture("1", "m").changed
    for number in range(30):
        (root / f"n{number}").write_text("x")
    capture = workspace.capture("2", "m")
    assert (capture.changed, len(capture.paths), capture.paths_total) == (True, 20, 30)
    for change in ("chmod 600 a.txt", "mkdir hollow", "rmdir hollow", "chmod 700 src"):
        sh(root, change)
        assert workspace.capture(change[:5] + change[-3:], "m").changed, change


def test_a_repeated_capture_gives_the_same_answer(workspace: Workspace, root: Path) -> None:
    (root / "a.txt").write_text("agent")
    first = workspace.capture("1", "m")
    again = Workspace.load(workspace.folder).capture("1", "m")
    assert (first.tree, first.changed, first.paths) == (again.tree, again.changed, again.paths)
    assert sh(root, f"git rev-parse {again.snapshot}~1").strip() == workspace.baseline


def test_snapshots_are_held_by_refs_with_score_and_verdict(workspace: Workspace, root: Path) -> None:
    (root / "a.txt").write_text("agent")
    workspace.capture("1", "beatctl: k3f9 iteration 1")
    for score in ("3.5", "4"):
        labelled = workspace.label("1", {"Beatctl-Score": score, "Beatctl-Verdict": "keep", "Beatctl-Reason": "a\nb"})
        assert sh(root, "git rev-parse refs/beatctl/k3f9/1").strip() == labelled == workspace.known
    trailers = sh(root, "git log -1 --format='%(trailers:key=Beatctl-Score,key=Beatctl-Reason)' refs/beatctl/k3f9/1")
    assert trailers.split("\n")[:2] == ["Beatctl-Score: 4", "Beatctl-Reason: a b"]
    workspace.restore(workspace.baseline, None)
    workspace.restore(labelled, None)
    assert (root / "a.txt").read_text() == "agent"
    with pytest.raises(WorkspaceProblem):
        workspace.label("2", {})


def test_the_baseline_can_be_labelled_and_restored(workspace: Workspace, root: Path) -> None:
    old, new = workspace.baseline, workspace.label("0", {"Beatctl-Score": "1"})
    assert workspace.baseline == new != old
    (root / "a.txt").write_text("agent")
    for snapshot in (old, new):
        workspace.restore(snapshot, None)
        assert workspace.edits() == []


def test_what_a_restore_would_lose_is_kept_first(workspace: Workspace, root: Path) -> None:
    (root / "a.txt").write_text("mine")
    (root / "small").write_text("small")
    (root / "large").write_bytes(bytes(2 << 20))
    (root / "untracked.txt").unlink()
    changed = workspace.restore(workspace.baseline, "1-left")
    assert changed == ["a.txt", "large", "small", "untracked.txt"]
    assert sh(root, "git show refs/beatctl/k3f9/1-left:a.txt") == "mine"
    names = sh(root, "git ls-tree --name-only refs/beatctl/k3f9/1-left").split()
    assert "small" in names
    assert "large" not in names
    assert workspace.restore(workspace.baseline, "2-left") == []
    assert "2-left" not in sh(root, "git for-each-ref")


def test_undo_keeps_everything_that_is_there(workspace: Workspace, root: Path) -> None:
    before = fingerprint.of(root)
    (root / "large").write_bytes(bytes(2 << 20))
    workspace.capture("1", "m")
    workspace.close()
    (root / "mine").write_bytes(bytes(3 << 20))
    sh(root, "git config later yes.please || git config later.on yes")
    assert workspace.undo().paths == ["large", "mine"]
    assert sh(root, "git cat-file -s refs/beatctl/k3f9/undone:mine").strip() == str(3 << 20)
    assert sh(root, "git config later.on").strip() == "yes"
    sh(root, "git config --remove-section later")
    left = {
        key: value for key, value in fingerprint.differences(before, fingerprint.of(root)).items() if "git" not in key
    }
    assert left == {}


def test_a_finished_loop_goes_on_with_its_guard_armed_again(workspace: Workspace, root: Path) -> None:
    workspace.close()
    assert not any((workspace.folder.workspace / "guards").glob("*"))
    sh(root, "git commit -qam mine")
    again = Workspace.open(workspace.folder, root)
    assert again.baseline == workspace.baseline
    before = fingerprint.of(root)
    shutil.rmtree(root / ".git")
    assert again.capture("9", "m").repaired[0] == ".git"
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_commits_an_agent_made_are_kept_even_when_git_is_deleted_later(workspace: Workspace, root: Path) -> None:
    sh(
        root,
        "git checkout -q -b work; echo 1 > one; git add one; git commit -qm one; git tag mine;"
        "echo 2 > two; git add two; git stash -q; git checkout -q --detach; echo 3 > three; git add three;"
        "git commit -qm three; git reset -q --hard HEAD~1; git checkout -q main",
    )
    capture = workspace.capture("4", "m")
    kept = [ref.removeprefix("refs/beatctl/k3f9/agent/4/") for ref in capture.kept_refs]
    assert {"heads/work", "tags/mine", "stash"} <= set(kept)
    subjects = sh(root, "git log --format=%s " + " ".join(capture.kept_refs))
    assert {"one", "three"} <= set(subjects.split("\n"))
    assert sh(root, "git branch --format='%(refname:short)'").split() == ["main", "side"]
    refs = sh(root, "git for-each-ref")
    shutil.rmtree(root / ".git")
    workspace.capture("5", "m")
    now = sh(root, "git for-each-ref")
    assert set(refs.splitlines()) <= set(now.splitlines())
    sh(root, "git fsck --full")


def test_snapshots_survive_an_agents_gc_and_removal_of_refs(workspace: Workspace, root: Path) -> None:
    (root / "a.txt").write_text("one")
    snapshot = workspace.capture("1", "m").snapshot
    sh(root, "git pack-refs --all; git update-ref -d refs/beatctl/k3f9/1; git update-ref refs/beatctl/other/1 HEAD")
    sh(root, "git reflog expire --expire=now --all; git gc -q --prune=now")
    workspace.capture("2", "m")
    assert sh(root, "git rev-parse refs/beatctl/k3f9/1").strip() == snapshot
    workspace.restore(workspace.baseline, None)
    workspace.restore(snapshot, None)
    assert (root / "a.txt").read_text() == "one"


def test_damaged_objects_are_put_back(workspace: Workspace, root: Path) -> None:
    name = sh(root, "git rev-parse main").strip()
    path = root / ".git/objects" / name[:2] / name[2:]
    path.unlink()
    path.write_bytes(b"junk")
    assert "objects" in workspace.capture("1", "m").repaired
    sh(root, "git fsck --full")


def test_the_mark_that_opencode_leaves_in_every_repository_is_taken_away_without_a_word(
    workspace: Workspace, root: Path
) -> None:
    (root / ".git/opencode").write_text("4711")
    assert workspace.capture("1", "m").repaired == []
    assert not (root / ".git/opencode").exists()


def test_damaged_packs_are_put_back(root: Path, folder: LoopFolder) -> None:
    sh(root, "git gc -q")
    workspace = Workspace.open(folder, root)
    for path in (root / ".git/objects/pack").iterdir():
        path.unlink()
        path.write_bytes(b"junk")
    assert "objects" in workspace.capture("1", "m").repaired
    sh(root, "git fsck --full")
    sh(root, "git repack -adq")
    workspace.capture("2", "m")
    sh(root, "git fsck --full")


def test_ignored_files_stay_whatever_happens_to_ignore_rules_and_folders(workspace: Workspace, root: Path) -> None:
    (root / ".gitignore").unlink()
    sh(root, "rm -r src; echo junk > src; mkdir -p pkg/ignored; echo new > pkg/new; echo keep > pkg/ignored/keep")
    capture = workspace.capture("1", "m")
    assert "x.log" not in sh(root, f"git ls-tree -r --name-only {capture.snapshot}")
    workspace.restore(workspace.baseline, None)
    assert (root / "ignored/deep/i").read_text() == "i\n"
    assert (root / "x.log").read_text() == "l\n"
    assert (root / "pkg/ignored/keep").read_text() == "keep\n", "an ignored file in a folder the restore would remove"
    assert not (root / "pkg/new").exists()
    assert workspace.edits() == [], "the folder that had to stay is no edit of the user's"
    (root / "pkg/again").write_text("x")
    assert workspace.edits() == ["pkg/again"]


def test_pipes_where_git_reads_files_hang_nothing(workspace: Workspace, root: Path) -> None:
    before = fingerprint.of(root)
    for path in (
        ".gitattributes",
        "src/.gitattributes",
        ".gitignore",
        ".git/HEAD",
        ".git/refs/heads/main",
        ".git/index",
    ):
        (root / path).unlink(missing_ok=True)
        os.mkfifo(root / path)
    (root / "a.txt").write_text("agent")
    (root / "src/main.py").write_text("agent")
    assert set(workspace.capture("1", "m").paths) == {".gitignore", "a.txt", "src/main.py"}
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_pipes_where_git_reads_files_are_refused_at_the_start(root: Path, folder: LoopFolder) -> None:
    os.mkfifo(root / "src/.gitattributes")
    with pytest.raises(WorkspaceRefused, match=r"src/\.gitattributes"):
        Workspace.open(folder, root)


def test_nothing_is_written_through_a_link_that_leads_out(workspace: Workspace, root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "main.py").write_text("theirs")
    (outside / "deep/x").write_text("theirs")
    before = fingerprint.files(outside)
    shutil.rmtree(root / "src")
    (root / "src").symlink_to(outside)
    capture = workspace.capture("1", "m")
    assert capture.paths == ["src", "src/deep/x", "src/main.py"]
    workspace.restore(workspace.baseline, "left")
    workspace.restore(capture.snapshot, "left")
    workspace.undo()
    assert fingerprint.files(outside) == before


def test_ignored_content_in_the_way_of_a_file_is_kept_aside(workspace: Workspace, root: Path) -> None:
    (root / "a.txt").unlink()
    (root / "a.txt").mkdir()
    (root / "a.txt/x.log").write_text("ignored")
    workspace.restore(workspace.baseline, None)
    assert (root / "a.txt").is_file()
    assert [path.read_text() for path in (workspace.folder.workspace / "aside").rglob("x.log")] == ["ignored"]


def test_an_agents_own_nested_repository_comes_and_goes_with_its_snapshots(workspace: Workspace, root: Path) -> None:
    before = fingerprint.of(root)
    (root / "lib").mkdir()
    sh(root / "lib", "git init -q; echo 1 > f; git add f; git commit -qm lib")
    (root / "src/.git").mkdir()
    sh(root / "src", "rmdir .git; git init -q")
    snapshot = workspace.capture("1", "m").snapshot
    with_lib = fingerprint.of(root)
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}
    workspace.restore(snapshot, None)
    assert fingerprint.differences(with_lib, fingerprint.of(root)) == {}
    sh(root / "lib", "git commit -q --amend -m other; rm -rf .git/objects")
    workspace.capture("2", "m")
    workspace.restore(snapshot, None)
    assert fingerprint.differences(with_lib, fingerprint.of(root)) == {}


def test_a_change_in_the_same_second_with_the_old_time_is_seen(workspace: Workspace, root: Path) -> None:
    for number in range(20):
        path = root / "src/main.py"
        path.write_text("aaaa")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert workspace.capture(f"{number}", "m").changed
        with path.open("r+") as file:
            file.write("bbbb")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert workspace.edits() == ["src/main.py"]
        assert workspace.capture(f"{number}-b", "m").changed
        workspace.restore(workspace.baseline, None)


def test_the_callers_git_variables_change_nothing(
    root: Path, folder: LoopFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint.of(root)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_CONFIG", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    assert find_root(root / "src") == root
    workspace = Workspace.open(folder, root)
    (root / "a.txt").write_text("agent")
    workspace.capture("1", "m")
    workspace.restore(workspace.baseline, None)
    assert fingerprint.differences(before, fingerprint.of(root)) == {}


def test_the_users_global_excludes_are_honoured(place: Path, root: Path, folder: LoopFolder) -> None:
    home = Path(os.environ["HOME"])
    (home / ".gitconfig").write_text(
        "[core]\nexcludesFile = ~/mine\n[user]\nsigningkey = x\n[commit]\ngpgsign = true\n"
    )
    (home / "mine").write_text("*.mine\n")
    (root / "x.mine").write_text("mine")
    workspace = Workspace.open(folder, root)
    (root / "y.mine").write_text("mine")
    assert workspace.edits() == []
    assert "x.mine" not in sh(root, f"git ls-tree -r --name-only {workspace.baseline}")


def test_beatctls_home_inside_the_workspace_is_no_part_of_it(root: Path) -> None:
    workspace = Workspace.open(Home(root / ".state").create().loop("k3f9"), root)
    (root / ".state/more").write_text("x")
    (root / ".state/loops/k3f9/runs/1").mkdir(parents=True)
    workspace.capture("1", "m")
    workspace.close()
    assert workspace.edits() == []
    workspace.restore(workspace.baseline, None)
    assert (root / ".state/more").exists()


def test_a_submodule_that_is_ignored_is_said_to_be_unprotected(place: Path, folder: LoopFolder) -> None:
    (place / "work").mkdir()
    root = KINDS["submodule"](place / "work")
    assert Workspace.open(Home(place / "other").create().loop("a"), root).warnings == []
    (root / ".gitignore").write_text("sub\n")
    assert "sub" in Workspace.open(folder, root).warnings[0]


def test_diffs_show_only_the_loops_changes(workspace: Workspace, root: Path) -> None:
    (root / "a.txt").write_text("agent\n")
    (root / "run.sh").chmod(0o700)
    (root / "hollow").mkdir()
    capture = workspace.capture("1", "m")
    text = workspace.diff(workspace.baseline, capture.snapshot).decode()
    assert "+agent" in text
    assert "staged" not in text
    assert b"a.txt | " in workspace.diff(workspace.baseline, capture.snapshot, stat=True)
    assert workspace.diff(workspace.baseline, capture.snapshot, paths=["src"]) == b""
    assert b"\x1b[" in workspace.diff(workspace.baseline, capture.snapshot, color=True)
    assert workspace.changed_paths(workspace.baseline, capture.snapshot) == ["a.txt", "hollow/", "run.sh"]


def test_a_folder_that_is_gone_is_said(workspace: Workspace, root: Path) -> None:
    root.rename(root.parent / "elsewhere")
    for operation in (workspace.edits, lambda: workspace.capture("1", "m"), workspace.undo):
        with pytest.raises(WorkspaceProblem) as problem:
            operation()
        assert problem.value.reason == "folder-gone"


def test_folders_no_loop_may_have_are_refused(place: Path, root: Path) -> None:
    assert check_directory(root / "src") == root
    assert find_root(place) == place
    for bad in (Path("/"), Path(os.environ["HOME"]), root / ".git", root / ".git/refs"):
        with pytest.raises(WorkspaceRefused):
            check_directory(bad)
    sh(place, "git init -q --bare bare.git")
    with pytest.raises(WorkspaceRefused):
        check_directory(place / "bare.git")
    with pytest.raises(WorkspaceProblem):
        check_directory(place / "missing")


def test_huge_untracked_content_is_refused_by_name_unless_allowed(root: Path, folder: LoopFolder) -> None:
    (root / "data").mkdir()
    with (root / "data/huge").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(WorkspaceRefused, match=r"data/ 3\.0 GiB") as refused:
        Workspace.open(folder, root)
    assert "--allow-large" in refused.value.text
    (root / ".gitignore").write_text("data/\n*.log\nignored/\n")
    Workspace.open(folder, root)


def test_a_full_disk_is_a_reason_of_its_own(place: Path) -> None:
    def fill() -> None:
        with explained(str(place)), Path("/dev/full").open("w") as file:
            file.write("x")

    with pytest.raises(WorkspaceProblem, match=str(place)) as problem:
        fill()
    assert problem.value.reason == "no-space"
    git = Git(place, {"GIT_DIR": str(place), "GIT_CONFIG_COUNT": "0"})
    git.environment["PATH"] = f"{place}:{os.environ['PATH']}"
    (place / "git").write_text("#!/bin/sh\necho 'fatal: write error: No space left on device' >&2; exit 128\n")
    (place / "git").chmod(0o755)
    with pytest.raises(WorkspaceProblem, match="No space left") as problem:
        git.run("write-tree")
    assert problem.value.reason == "no-space"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_permissions_an_agent_took_away_come_back_for_an_ordinary_user(place: Path, root: Path) -> None:
    for path in (place, Path(os.environ["HOME"]), place / "home"):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    subprocess.run(["chown", "-R", "65534:65534", str(root), str(place)], check=True)

    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            before = fingerprint.of(root)
            held = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
            (root / "new").mkdir()
            (root / "new/file").write_text("x")
            sh(root, "chmod 0 a.txt src/deep run.sh new; chmod 500 src; chmod 0 new/file || true; chmod 555 .")
            capture = held.capture("1", "m")
            assert {"a.txt", "new/file"} <= set(capture.paths), capture.paths
            held.restore(held.baseline, None)
            assert fingerprint.differences(before, fingerprint.of(root)) == {}
            held.restore(capture.snapshot, None)
            held.undo()
            assert fingerprint.differences(before, fingerprint.of(root)) == {}
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
