"""Kinds of working copy, each made for real with git, and an agent's worst on any of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

Kind = Callable[[Path], Path]
KINDS: dict[str, Kind] = {}
"""Each makes a working copy in an empty folder and returns its root."""


def kind(make: Kind) -> Kind:
    KINDS[make.__name__] = make
    return make


def sh(folder: Path, script: str, *, check: bool = True) -> str:
    """Run a shell script in a folder, with a git identity and no configuration but the repository's and HOME's."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment.update(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_EDITOR="true",
        GIT_AUTHOR_NAME="User",
        GIT_AUTHOR_EMAIL="user@example.org",
        GIT_COMMITTER_NAME="User",
        GIT_COMMITTER_EMAIL="user@example.org",
        GIT_CONFIG_COUNT="2",
        GIT_CONFIG_KEY_0="protocol.file.allow",
        GIT_CONFIG_VALUE_0="always",
        GIT_CONFIG_KEY_1="advice.detachedHead",
        GIT_CONFIG_VALUE_1="false",
    )
    done = subprocess.run(
        ["sh", "-ec" if check else "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


START = """
git init -q -b main .
printf 'one\\ntwo\\nthree\\n' > a.txt; mkdir -p src/deep; echo 'print(1)' > src/main.py; echo deep > src/deep/x
printf '#!/bin/sh\\necho hi\\n' > run.sh; chmod +x run.sh; ln -s a.txt link
printf 'ignored/\\n*.log\\n' > .gitignore
git add -A; git commit -qm first; echo more >> a.txt; git commit -qam second; git tag v1; git branch side HEAD~1
"""
DIRT = """
echo staged > staged.txt; git add staged.txt; echo edited >> src/main.py; echo untracked > untracked.txt
mkdir -p ignored/deep; echo i > ignored/deep/i; echo l > x.log
"""


def _repository(folder: Path, script: str = "") -> Path:
    sh(folder, START + DIRT + script)
    return folder


@kind
def plain(folder: Path) -> Path:
    return _repository(folder)


@kind
def no_repository(folder: Path) -> Path:
    sh(folder, "mkdir -p src/deep; echo 1 > a.txt; echo 2 > src/main.py; echo 3 > src/deep/x; ln -s a.txt link")
    return folder


@kind
def no_commit_yet(folder: Path) -> Path:
    sh(folder, "git init -q -b main .; mkdir src; echo 1 > a.txt; echo 2 > src/main.py; git add a.txt; echo 3 >> a.txt")
    return folder


@kind
def detached(folder: Path) -> Path:
    return _repository(folder, "git stash -q; git checkout -q HEAD~1; git stash pop -q || true")


@kind
def merge_in_progress(folder: Path) -> Path:
    sh(folder, START + "git checkout -q side; echo other > a.txt; git commit -qam other; git merge main || true")
    assert (folder / ".git/MERGE_HEAD").exists()
    return folder


@kind
def rebase_in_progress(folder: Path) -> Path:
    sh(folder, START + "git checkout -q side; echo other > a.txt; git commit -qam other; git rebase main || true")
    assert (folder / ".git/rebase-merge").exists()
    return folder


@kind
def cherry_pick_in_progress(folder: Path) -> Path:
    sh(folder, START + "git checkout -q side; echo other > a.txt; git commit -qam other; git cherry-pick main || true")
    assert (folder / ".git/CHERRY_PICK_HEAD").exists()
    return folder


@kind
def bisect_in_progress(folder: Path) -> Path:
    sh(folder, START + "git bisect start -q main side~0 || true; git bisect log > /dev/null || true")
    return folder


@kind
def stashes(folder: Path) -> Path:
    return _repository(folder, "git stash -q -u; echo second >> a.txt; git stash -q; echo third >> a.txt")


@kind
def submodule(folder: Path) -> Path:
    (folder / "origin").mkdir()
    sh(folder / "origin", START)
    (folder / "main").mkdir()
    return _repository(
        folder / "main",
        "git submodule add -q ../origin sub; git commit -qm sub; echo edited >> sub/a.txt; echo new > sub/new.txt;"
        "mkdir sub/empty sub/ignored; echo i > sub/ignored/i; (cd sub; git checkout -q -b mine; git stash list)",
    )


@kind
def nested_repository(folder: Path) -> Path:
    (folder / "vendor/lib").mkdir(parents=True)
    sh(folder / "vendor/lib", START + DIRT)
    (folder / "vendor/lib/deeper").mkdir()
    sh(folder / "vendor/lib/deeper", START)
    return _repository(folder)


@kind
def crlf(folder: Path) -> Path:
    return _repository(
        folder,
        "printf '* text=auto eol=crlf\\n' > .gitattributes; printf 'a\\r\\nb\\n' > mixed; printf 'a\\r\\n' > dos;"
        "git config core.autocrlf true; git add -A; git commit -qm eol; printf 'x\\ny\\r\\n' > mixed",
    )


@kind
def filters(folder: Path) -> Path:
    return _repository(
        folder,
        "git config filter.up.clean 'tr a-z A-Z'; git config filter.up.smudge 'tr A-Z a-z';"
        " git config filter.up.required true;"
        "printf '*.up filter=up\\n*.id ident\\n*.u16 working-tree-encoding=UTF-16\\n' > .gitattributes;"
        " echo MiXed > f.up;"
        "printf '$Id$\\n' > f.id; printf '\\377\\376a\\000' > f.u16; git add -A; git commit -qm filters;"
        " echo miXed2 > f.up",
    )


@kind
def large_file_store(folder: Path) -> Path:
    return _repository(
        folder,
        "git config filter.lfs.clean 'sha1sum'; git config filter.lfs.smudge 'cat >/dev/null;"
        " cat .git/lfs/objects/aa/one';"
        "mkdir -p .git/lfs/objects/aa; echo content > .git/lfs/objects/aa/one;"
        " printf '*.bin filter=lfs -text\\n' > .gitattributes;"
        "echo content > big.bin; git add -A; git commit -qm lfs; echo changed > big.bin",
    )


@kind
def sparse_checkout(folder: Path) -> Path:
    sh(
        folder,
        START + "mkdir more; echo m > more/m; git add -A; git commit -qm more; git sparse-checkout set src;" + DIRT,
    )
    assert not (folder / "more").exists()
    return folder


@kind
def sparse_index(folder: Path) -> Path:
    sh(
        folder,
        START + "mkdir -p more/x; echo m > more/x/m; git add -A; git commit -qm more;"
        "git sparse-checkout init --cone --sparse-index; git sparse-checkout set src;" + DIRT,
    )
    return folder


@kind
def skip_worktree(folder: Path) -> Path:
    return _repository(
        folder, "git update-index --skip-worktree src/main.py a.txt; echo secret >> a.txt; rm src/deep/x"
    )


@kind
def assume_unchanged(folder: Path) -> Path:
    return _repository(folder, "git update-index --assume-unchanged src/main.py a.txt; echo secret >> a.txt")


@kind
def intent_to_add(folder: Path) -> Path:
    return _repository(folder, "echo later > later.txt; git add -N later.txt")


@kind
def partially_staged(folder: Path) -> Path:
    return _repository(folder, "echo s >> a.txt; git add a.txt; echo u >> a.txt; git rm -q --cached run.sh")


@kind
def modes(folder: Path) -> Path:
    return _repository(
        folder,
        "chmod 600 a.txt; echo r > ro; chmod 444 ro; echo x > x; chmod 700 x; mkdir setgid priv; chmod 2775 setgid;"
        "echo p > priv/p; chmod 700 priv; chmod 664 untracked.txt; mkdir closed; echo c > closed/c; chmod 555 closed",
    )


@kind
def another_umask(folder: Path) -> Path:
    sh(folder, "umask 002;" + START + DIRT)
    return folder


@kind
def file_mode_off(folder: Path) -> Path:
    return _repository(folder, "git config core.fileMode false; chmod +x a.txt; chmod -x run.sh")


@kind
def empty_folders(folder: Path) -> Path:
    return _repository(folder, "mkdir -p empty one/two/three src/none; mkdir halfempty; echo l > halfempty/only.log")


@kind
def odd_names(folder: Path) -> Path:
    _repository(folder)
    base = os.fsencode(folder)
    for name in (
        b"new\nline", b"\xff\xfe not utf8", b"-dash", b'quo"te', b"it's", b"back\\slash", b"trailing ", b" leading",
        b"\xc3\xa4\xc3\xb6.txt", b"a\xcc\x88", b"*", b"[x]", b"?", b":(top)x", b"#hash", b"!bang",
        b"tab\there", b"git~1",
    ):  # fmt: skip
        with open(os.path.join(base, name), "wb") as file:
            file.write(name)
    os.makedirs(base + b"/dir \n \xff/in [side] /deep")
    with open(base + b"/dir \n \xff/in [side] /deep/file\n", "wb") as file:
        file.write(b"x")
    with open(base + b"/dir \n \xff/.gitignore", "wb") as file:
        file.write(b"hidden\n")
    with open(base + b"/dir \n \xff/hidden", "wb") as file:
        file.write(b"ignored")
    sh(folder, "git add -A -- . ':!git~1' 2>/dev/null || true; git commit -qm odd")
    return folder


@kind
def failing_hooks(folder: Path) -> Path:
    _repository(folder)
    for name in ("pre-commit", "commit-msg", "post-checkout", "reference-transaction", "post-index-change", "pre-push"):
        hook = folder / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\necho ran {name} >> '{folder.parent}/hooks-ran'\nexit 1\n")
        hook.chmod(0o755)
    return folder


@kind
def signed_commits(folder: Path) -> Path:
    return _repository(
        folder, "git config commit.gpgsign true; git config tag.gpgsign true; git config gpg.program false"
    )


@kind
def file_system_monitor(folder: Path) -> Path:
    return _repository(folder, "git config core.fsmonitor 'exit 1'; git config core.untrackedCache true; git status -s")


@kind
def split_index(folder: Path) -> Path:
    return _repository(folder, "git update-index --split-index; echo 2 > second; git add second")


@kind
def symlinks(folder: Path) -> Path:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    return _repository(
        folder,
        "ln -s nowhere dangling; ln -s src to-folder; ln -s ../outside to-outside; ln -s ../outside/precious to-file;"
        "ln -s /etc/hostname absolute; git add dangling to-folder; git commit -qm links",
    )


@kind
def packed_refs(folder: Path) -> Path:
    return _repository(folder, "git gc -q; git branch loose; git stash -q; git stash apply -q")


@kind
def sha256(folder: Path) -> Path:
    sh(folder, START.replace("git init -q", "git init -q --object-format=sha256") + DIRT)
    return folder


@kind
def shallow(folder: Path) -> Path:
    (folder / "origin").mkdir()
    sh(folder / "origin", START)
    sh(folder, f"git clone -q --depth 1 'file://{folder}/origin' main")
    sh(folder / "main", DIRT)
    return folder / "main"


@kind
def alternates(folder: Path) -> Path:
    (folder / "origin").mkdir()
    sh(folder / "origin", START)
    sh(folder, "git clone -q --shared origin main")
    sh(folder / "main", DIRT)
    return folder / "main"


@kind
def linked_worktree(folder: Path) -> Path:
    (folder / "main").mkdir()
    _repository(folder / "main", "git worktree add -q ../linked side; git worktree add -q ../other -b other")
    sh(folder / "linked", DIRT)
    return folder / "linked"


@kind
def main_of_worktrees(folder: Path) -> Path:
    (folder / "main").mkdir()
    return _repository(folder / "main", "git worktree add -q ../linked side")


@kind
def git_dir_elsewhere(folder: Path) -> Path:
    (folder / "main").mkdir()
    sh(folder / "main", START.replace("git init -q", "git init -q --separate-git-dir=../store.git") + DIRT)
    return folder / "main"


@kind
def git_dir_as_link(folder: Path) -> Path:
    (folder / "main").mkdir()
    return _repository(folder / "main", "mv .git ../store.git; ln -s ../store.git .git")


@kind
def work_tree_setting(folder: Path) -> Path:
    return _repository(folder, f"git config core.worktree '{folder}'; git config extensions.worktreeConfig true")


@kind
def attributes_of_all_kinds(folder: Path) -> Path:
    return _repository(
        folder,
        "printf '* text eol=lf\\n*.x binary\\n[attr]mine -diff merge=ours\\n*.y mine\\n' > .gitattributes;"
        "printf '*.txt eol=crlf\\n' > .git/info/attributes; printf 'a\\r\\nb\\n' > c.txt;"
        " printf 'a\\r\\n' > c.x; echo > c.y",
    )


@kind
def ignore_rules_everywhere(folder: Path) -> Path:
    return _repository(
        folder,
        "printf 'secret\\n/only-here\\n' > .git/info/exclude;"
        " printf '*.tmp\\n!keep.tmp\\nbuild/\\n/anchored\\na/b\\n' > src/.gitignore;"
        "mkdir -p src/build src/sub/build src/a/b src/sub/a/b .venv/lib; echo '*' > .venv/.gitignore;"
        " echo v > .venv/lib/v;"
        "for f in secret only-here src/only-here src/x.tmp src/keep.tmp src/build/b src/sub/build/b src/anchored"
        " src/sub/anchored src/a/b/c src/sub/a/b/c src/sub/secret; do echo $f > $f; done;"
        "echo tracked > src/build/tracked; git add -f src/build/tracked; git commit -qm tracked-but-ignored",
    )


@kind
def pipes_and_sockets(folder: Path) -> Path:
    return _repository(folder, "mkfifo pipe src/pipe")


@kind
def replaced_objects(folder: Path) -> Path:
    return _repository(
        folder, "git replace -f $(git rev-parse main:a.txt) $(git rev-parse main:run.sh); git notes add -m n"
    )


class Damage:
    """What an agent may do;"
    " nothing of it is allowed to last. Ignored files are left alone, as their loss is not undone."""

    @staticmethod
    def files(root: Path) -> None:
        base = os.fsencode(root)
        paths = []
        for folder, folders, names in os.walk(base):
            folders[:] = sorted(name for name in folders if name not in (b".git", b"ignored", b".venv", b"build"))
            paths += [os.path.join(folder, name) for name in sorted(names) if not _stays(name)]
        for number, path in enumerate(paths):
            at = os.lstat(path)
            if not (stat.S_ISREG(at.st_mode) or stat.S_ISLNK(at.st_mode)):
                continue
            what = number % 7
            if what == 0 and stat.S_ISREG(at.st_mode):
                with open(path, "ab") as file:
                    file.write(b"agent\n")
            elif what == 1:
                os.unlink(path)
            elif what == 2 and stat.S_ISREG(at.st_mode):
                os.chmod(path, 0o400 if number % 2 else 0o777)
            elif what == 3:
                os.unlink(path)
                os.makedirs(path + b"/now/a/folder")
                with open(path + b"/now/file", "wb") as file:
                    file.write(b"agent")
            elif what == 4:
                os.unlink(path)
                os.symlink(b"/etc/passwd", path)
            elif what == 5 and stat.S_ISREG(at.st_mode) and at.st_size:
                _same_size_same_times(path, at)
            elif what == 6:
                os.unlink(path)
                os.mkfifo(path)
        for name in ("src", "sub/src", "vendor/lib"):
            if (root / name / "deep").is_dir() and not (root / name / "deep").is_symlink():
                shutil.rmtree(root / name / "deep")
                (root / name / "deep").symlink_to("/tmp")
        (root / ".gitignore").unlink(missing_ok=True) if not (root / ".gitignore").is_dir() else None
        with contextlib.suppress(IsADirectoryError):
            (root / ".gitignore").write_text("")
        (root / "agent/new/empty").mkdir(parents=True)
        (root / "agent/new/file").write_text("new")
        (root / "top-empty").mkdir()
        (root / "new.log").write_text("ignored at the baseline, had it been there")
        (root / "new.log").unlink()

    @staticmethod
    def repository(root: Path) -> None:
        for repository in [
            root,
            *[path.parent for path in root.glob("*/.git")],
            *[p.parent for p in root.glob("*/*/.git")],
        ]:
            if not (repository / ".git").exists() and repository != root:
                continue
            sh(
                repository,
                """
                rm -f .git/hooks/pre-commit
                git merge --abort; git rebase --abort; git cherry-pick --abort; git bisect reset
                echo agent > agent.txt; git -c commit.gpgsign=false add -A
                git -c commit.gpgsign=false commit -q --no-verify -m agent
                git checkout -q -b agent-branch; echo more >> agent.txt
                git -c commit.gpgsign=false commit -qam more --no-verify
                git -c tag.gpgsign=false tag -f v1; git tag -d v1; git -c tag.gpgsign=false tag v2
                git branch -D side; git branch -f side HEAD
                echo x >> agent.txt; git stash -q; git stash drop -q stash@{1}
                git config user.name Agent; git config core.bare false; git config alias.x '!false'
                git config core.hooksPath /x
                printf '#!/bin/sh\\nexit 9\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit
                rm -rf .git/info/exclude .git/description; echo junk > .git/junk
                mkdir -p .git/junkdir/deep; touch .git/index.lock
                git update-ref -d refs/heads/main; git pack-refs --all
                git reflog expire --expire=now --all; git gc -q --prune=now
                """,
                check=False,
            )

    @staticmethod
    def repository_gone(root: Path) -> None:
        _remove(root / ".git")
        sh(root, "git init -q .; git add -A; git commit -qm 'all new'", check=False)

    @staticmethod
    def repository_moved(root: Path) -> None:
        if (root / ".git").exists():
            (root / ".git").rename(root / ".git.bak")


def _stays(name: bytes) -> bool:
    return (
        name in (b".git",)
        or name.endswith((b".log", b".tmp", b"pipe"))
        or name in (b"secret", b"only-here", b"hidden", b"anchored", b"c")
    )


def _same_size_same_times(path: bytes, at: os.stat_result) -> None:
    """Other bytes, as many, in the same file, with the old time put back."""
    with open(path, "r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(bytes(byte ^ 1 for byte in content))
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
