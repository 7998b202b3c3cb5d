"""`start --repo`: a host clones, works, and pushes what was kept; nothing is forced, and nothing is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities import repositories
from tests.hosts.conftest import Hosts
from tests.loops.conftest import Repository
from tests.support import Beatctl, wait_until

pytestmark = pytest.mark.xdist_group("hosts")

MINIMIZE = ("--eval", "cat n", "--minimize")


class Remote:
    """A bare repository with a branch `main` and a tag, and one commit that no branch holds."""

    def __init__(self, source: Repository) -> None:
        self.folder = source.folder.parent / "shop.git"
        self.url = f"file://{self.folder}"
        self._environ = source.environ
        source.git("tag", "v1")
        source.write("n", "45\n")
        source.git("commit", "-qam", "second")
        self.main = source.git("rev-parse", "HEAD")
        source.git("clone", "-q", "--bare", str(source.folder), str(self.folder))
        source.git("remote", "add", "shop", self.url)

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, env=self._environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def branches(self) -> set[str]:
        return set(self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split())

    def refuse(self, words: str) -> None:
        hook = self.folder / "hooks" / "update"
        hook.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        hook.chmod(0o755)


@pytest.fixture
def remote(repository: Repository) -> Remote:
    return Remote(repository)


@pytest.fixture
def two(hosts: Hosts) -> Beatctl:
    return hosts.up("two")


def lowering(repository: Repository, body: str = "echo $((40 - $i)) > n") -> tuple[str, ...]:
    return (*MINIMIZE, "-a", repository.agent(body), "-n", "2")


def pushed(beatctl: Beatctl, loop: str) -> dict[str, Any]:
    """The loop's status once it is known what became of its branch."""
    return wait_until(lambda: (found := beatctl.look(loop))["push"] and found, "the push")


def test_a_host_clones_works_and_pushes_a_commit_for_each_experiment_kept(
    hosts: Hosts, two: Beatctl, repository: Repository, remote: Remote
) -> None:
    words = ("start", "lower n", *lowering(repository), "--repo", remote.url, "--on", "two", "-d", "--json")
    loop = hosts["one"](*words, cwd=Path("/"), expect=0).json["id"]
    status = pushed(two, loop)
    assert status["push"] == status["push"] | {"state": "pushed", "branch": f"beatctl/{loop}", "kept": 2}
    assert status["directory"] == str(two.home / "clones" / loop)
    assert (status["repo"], status["ref"]) == (remote.url, "main")
    assert remote.git("rev-parse", f"beatctl/{loop}") == status["push"]["commit"]
    assert remote.git("rev-parse", f"beatctl/{loop}~2") == remote.main  # one commit an experiment
    assert remote.git("show", f"beatctl/{loop}:n") == "38"
    assert remote.git("show", f"beatctl/{loop}~1:n") == "39"
    assert remote.git("rev-parse", "main") == remote.main
    shown = hosts["one"]("status", loop, cwd=Path("/"), expect=0).stdout
    assert f"branch    beatctl/{loop} at {status['push']['commit'][:10]}" in shown


def test_a_refused_push_is_told_and_can_be_tried_again(
    hosts: Hosts, two: Beatctl, repository: Repository, remote: Remote
) -> None:
    remote.refuse("the shop is closed")
    words = (*lowering(repository), "--repo", remote.url, "--ref", "v1", "--branch", "less", "-d", "--json")
    loop = two("start", "lower n", *words, cwd=Path("/"), expect=0).json["id"]
    status = pushed(two, loop)
    assert status["push"]["state"] == "failed"
    assert "the shop is closed" in status["push"]["detail"]
    assert status["baseline"]["score"] == 50  # the tag's, not main's
    told = " ".join(hosts.typed("two", "status", loop, expect=0).stdout.split())
    assert "did not take the branch less" in told
    assert f"Try again: beatctl push {loop}" in told
    assert f"{loop} is not pushed" in hosts.typed("two", "list", expect=0).stderr
    assert "the shop is closed" in hosts.typed("two", "push", loop, expect=1).stderr
    clone = two.home / "clones" / loop
    freed = hosts.typed("two", "gc", loop, "--all-refs", "--yes")
    assert f"nothing else goes until its branch is pushed: beatctl push {loop}" in freed.stdout + freed.stderr
    assert clone.is_dir()
    (remote.folder / "hooks" / "update").unlink()
    done = hosts.typed("two", "push", loop, expect=0)
    assert f"{loop}: pushed less, commit" in done.stdout
    assert remote.git("show", "less:n") == "38"
    hosts.typed("two", "gc", loop, "--all-refs", "--yes")
    assert not clone.exists()
    assert "pushed less" not in hosts.typed("two", "status", loop).stdout
    assert "branch    less at" in hosts.typed("two", "status", loop).stdout


def test_nothing_is_pushed_over_what_others_have_pushed_meanwhile(
    two: Beatctl, repository: Repository, remote: Remote
) -> None:
    gate = repository.folder.parent / "gate"
    body = f"while [ ! -e {gate} ]; do sleep 0.05; done; echo $((40 - $i)) > n"
    words = (*lowering(repository, body), "--repo", remote.url, "--branch", "less", "-d", "--json")
    loop = two("start", "lower n", *words, cwd=Path("/"), expect=0).json["id"]
    repository.git("push", "-q", "shop", "HEAD~1:refs/heads/less")
    repository.write("other", "")
    repository.git("add", "other")
    repository.git("commit", "-qm", "theirs")
    repository.git("push", "-q", "shop", "+HEAD:refs/heads/less")
    theirs = remote.git("rev-parse", "less")
    gate.touch()
    status = pushed(two, loop)
    assert status["push"]["state"] == "failed"
    assert "rejected" in status["push"]["detail"]
    assert remote.git("rev-parse", "less") == theirs


def test_a_loop_that_kept_nothing_pushes_nothing(two: Beatctl, repository: Repository, remote: Remote) -> None:
    words = (*lowering(repository, "echo 99 > n"), "--repo", remote.url, "-d", "--json")
    loop = two("start", "lower n", *words, cwd=Path("/"), expect=0).json["id"]
    assert pushed(two, loop)["push"]["state"] == "nothing"
    assert remote.branches() == {"main"}


def test_what_was_kept_after_going_on_is_pushed_too(two: Beatctl, repository: Repository, remote: Remote) -> None:
    words = (*lowering(repository), "--repo", remote.url, "-d", "--json")
    loop = two("start", "lower n", *words, cwd=Path("/"), expect=0).json["id"]
    pushed(two, loop)
    two("resume", loop, "-n", "+1", "-d", cwd=Path("/"), expect=0)
    wait_until(lambda: len(remote.branches()) == 3, "the second branch")
    [more] = remote.branches() - {"main", f"beatctl/{loop}"}
    assert remote.git("show", f"{more}:n") == "37"
    assert remote.git("show", f"beatctl/{loop}:n") == "38"


def test_a_repository_that_cant_be_had_is_told_before_anything_starts(
    hosts: Hosts, two: Beatctl, repository: Repository, remote: Remote
) -> None:
    before = set(two.look_at_all())
    start = ("start", "lower n", *lowering(repository))
    done = hosts.typed("two", *start, "--repo", remote.url, "--ref", "nope", expect=2)
    assert f"{remote.url} has no branch, tag or commit 'nope'." in done.stderr
    done = hosts.typed("two", *start, "--repo", f"{remote.url}x", expect=3)
    assert "does not appear to be a git repository" in done.stderr
    done = hosts.typed("two", *start, "--repo", remote.url, "--branch", "main", expect=2)
    assert "has a branch main already" in done.stderr
    done = hosts.typed("two", *start, "--repo", remote.url, "--worktree", expect=2)
    assert "leave out --worktree" in done.stderr
    done = two("start", "x", "--until", "true", "-a", "nobody", "--repo", remote.url, cwd=Path("/"), expect=3)
    assert 'Agent "nobody" is not on PATH' in done.stderr
    assert set(two.look_at_all()) == before
    assert {path.name for path in (two.home / "clones").glob("*")} <= before  # the clones of those that ran


def test_a_commit_is_found_by_its_name_and_what_moved_since_is_fetched(
    two: Beatctl, repository: Repository, remote: Remote
) -> None:
    from beatctl.activities.home import Home

    home = Home(two.home)
    assert repositories.fetch(home, remote.url, remote.main[:12]).commit == remote.main
    repository.write("n", "44\n")
    repository.git("commit", "-qam", "third")
    repository.git("push", "-q", "shop", "HEAD:main")
    assert repositories.fetch(home, remote.url, None).commit == repository.git("rev-parse", "HEAD")
    assert repositories.fetch(home, remote.url, "v1").commit == repository.git("rev-parse", "v1")


@pytest.mark.parametrize(
    "url",
    [
        *("https://ada:secret@example.com/shop.git", "https://secret@example.com/shop.git"),
        *("ssh://ada:secret@example.com/shop.git", "-u", "shop.git", "", "ext::sh -c date%\n"),
    ],
)
def test_a_url_with_a_secret_or_none_at_all_is_refused_without_showing_it(
    beatctl: Beatctl, place: Path, url: str
) -> None:
    done = beatctl("start", "x", "--until", "true", f"--repo={url}", cwd=place, expect=2)
    assert "secret" not in done.stderr
    assert not beatctl.home.exists()


@pytest.mark.parametrize(
    "url", ["https://example.com/shop.git", "ssh://git@example.com/shop", "git@example.com:shop.git", "/srv/shop.git"]
)
def test_usual_urls_are_taken(url: str) -> None:
    assert repositories.why_not(url) is None
