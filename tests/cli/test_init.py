"""`init`: a file that explains every key and works as it stands; nothing that was there is lost."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from beatctl.cli import loop_template
from beatctl.cli.init import guess, write_new
from beatctl.cli.loop_file import read
from beatctl.cli.problems import Usage
from beatctl.cli.settings import KEYS, level_of_flags, typed_of
from beatctl.cli.start_options import Typed, choose
from beatctl.workflows.spec import Limits
from tests.support import Beatctl

EXPLAINED = {line.key for lines in loop_template.GROUPS.values() for line in lines}
HELPS = dict.fromkeys(KEYS, "What its flag does.")


def shown(text: str) -> dict[str, tuple[str, str]]:
    """Each key's own line, and the sentence above it."""
    lines = text.splitlines()
    found = {}
    for above, line in pairwise(lines):
        match = re.fullmatch(r"(?:# )?([a-z_]+) = (.+)", line)
        if match and above.startswith("# "):
            found[match[1]] = (line.removeprefix("# "), above.removeprefix("# "))
    return found


def test_every_key_is_explained_and_its_line_is_understood_when_the_hash_is_taken_away(place: Path) -> None:
    text = loop_template.loop_file("loop.toml", HELPS, {})
    assert tomllib.loads(text) == {}
    found = shown(text)
    assert set(found) == set(KEYS)
    path = place / "loop.toml"
    for name, (line, sentence) in found.items():
        assert len(sentence) > 10
        if name not in EXPLAINED:
            continue  # its flag's help stands there, with no value of its own
        path.write_text(line + "\n")
        assert set(read(path, "loop.toml", "loop file")) == {name}, line


@pytest.mark.parametrize("strategy", ["until", "eval"])
def test_a_default_in_the_file_is_the_default_there_is(place: Path, strategy: str) -> None:
    path = place / "loop.toml"
    goal = Typed(goal=("g",))
    flags = level_of_flags(replace(goal, until="x") if strategy == "until" else replace(goal, eval="x", minimize=True))
    plain = choose(typed_of(flags))
    other = {"until": ("plateau", "target"), "eval": ("on_fail",)}[strategy]
    told = 0
    for name, (line, sentence) in shown(loop_template.loop_file("loop.toml", HELPS, {})).items():
        if sentence.endswith("Example:") or name in other or name not in EXPLAINED:
            continue
        path.write_text(line + "\n")
        chosen = choose(typed_of({**read(path, "x", "loop file"), **flags}))
        assert vars(chosen) | {"limits": {}} == vars(plain) | {"limits": {}}, line
        assert Limits(**chosen.limits) == Limits(**plain.limits), line
        told += 1
    assert told > 12


def test_a_file_for_all_loops_has_only_the_keys_that_hold_there(place: Path) -> None:
    assert set(shown(loop_template.settings_file("of yours", HELPS, repository=False))) == {
        name for name, key in KEYS.items() if key.everywhere
    }
    text = loop_template.settings_file("in this repository", HELPS, repository=True)
    found = shown(text)
    assert set(found) == {name for name, key in KEYS.items() if key.everywhere} - {"notify_command"}
    path = place / "beatctl.toml"
    path.write_text("".join(f"{line}\n" for name, (line, _) in found.items() if name in EXPLAINED))
    assert set(read(path, "beatctl.toml", "repository")) == set(found) & EXPLAINED


def test_what_is_there_is_never_lost(beatctl: Beatctl, place: Path) -> None:
    project = place / "project"
    project.mkdir()
    path = project / "loop.toml"
    for content in (b"my own\n", b"\xff mine\n", b""):
        path.write_bytes(content)
        done = beatctl("init", cwd=project, expect=2)
        assert done.stderr.startswith("loop.toml is there already, and was not touched.")
        assert path.read_bytes() == content
    path.write_bytes(b"first\n")
    path.chmod(0o600)
    done = beatctl("init", "--force", "--json", cwd=project, expect=0)
    assert done.json == {"file": str(path), "kept": str(project / "loop.toml.old"), "guessed": {}}
    path.write_bytes(b"second\n")
    assert "is now loop.toml.old1." in beatctl("init", "--force", cwd=project, expect=0).stderr
    assert (project / "loop.toml.old").read_bytes() == b"first\n"
    assert (project / "loop.toml.old").stat().st_mode & 0o777 == 0o600
    assert (project / "loop.toml.old1").read_bytes() == b"second\n"
    assert tomllib.loads(path.read_text()) == {}
    (project / "linked.toml").symlink_to(project / "elsewhere.toml")
    beatctl("init", "linked.toml", cwd=project, expect=2)
    assert not (project / "elsewhere.toml").exists()
    assert sorted(each.name for each in project.iterdir()) == [
        *("linked.toml", "loop.toml", "loop.toml.old", "loop.toml.old1")
    ]


def test_where_no_file_can_be_written_nothing_is_and_it_is_said(place: Path) -> None:
    for path, words in ((place, "is a folder"), (place / "gone" / "loop.toml", "can't be written: No such file")):
        for force in (False, True):
            with pytest.raises(Usage, match=words):
                write_new(path, str(path), "text", force)
    assert not (place / "gone").exists()


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"package.json": '{"scripts": {"test": "jest"}}'}, "npm test"),
        ({"package.json": '{"scripts": {"test": "jest"}}', "pnpm-lock.yaml": ""}, "pnpm test"),
        ({"Makefile": "all:\n\ntest: all\n\tx\n"}, "make test"),
        ({"Cargo.toml": ""}, "cargo test"),
        ({"go.mod": ""}, "go test ./..."),
        ({"go.mod": "", "Makefile": "test:\n"}, None),
        ({"Makefile": "tests:\ntest := 3\n"}, None),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, None),
        ({"package.json": "not JSON"}, None),
        ({"package.json": '{"scripts": ["test"]}'}, None),
        ({"Makefile": "\udcff"}, None),
        ({}, None),
    ],
)
def test_goal_and_evaluator_are_guessed_only_where_there_is_no_doubt(
    place: Path, files: dict[str, str], line: str | None
) -> None:
    for name, text in files.items():
        (place / name).write_text(text, errors="surrogateescape")
    guessed, by = guess(place)
    assert guessed.get("until") == line
    assert (by in files) == (line is not None)
    text = loop_template.loop_file("loop.toml", HELPS, guessed)
    assert tomllib.loads(text) == guessed


def test_settings_are_shown_with_their_place(beatctl: Beatctl, place: Path) -> None:
    project = place / "project"
    below = project / "below"
    below.mkdir(parents=True)
    (project / ".git").mkdir()
    for folder in ("objects", "refs"):
        (project / ".git" / folder).mkdir()
    (project / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    user = Path(beatctl.environ["HOME"]) / ".config" / "beatctl" / "config.toml"
    config = {"XDG_CONFIG_HOME": str(user.parents[1])}
    said = beatctl("init", str(user), cwd=project, expect=0, env=config).stderr
    assert "holds for every loop of yours on this machine" in said
    user.write_text(user.read_text() + 'max_failures = 9\nagent = "claude"\n')
    (project / "beatctl.toml").write_text('# ours\n\nmax-iterations = 300\nagent = "codex"\n')
    (below / "loop.toml").write_text('goal = "g"\nsteps = ["a", "b"]\nfor = "8h"\n')
    env = {**config, "BEATCTL_FOR": "2h", "BEATCTL_COOLDOWN": "5", "BEATCTL_MODEL_": "x"}
    lines = beatctl("doctor", "-f", "loop.toml", cwd=below, expect=0, env=env).stdout.splitlines()
    shown = [line.removeprefix("setting").strip() for line in lines if line.startswith("setting ")]
    lines_of_user = len(user.read_text().splitlines())
    assert shown == [
        "goal g  from loop.toml:1",
        "steps a, b  from loop.toml:2",
        "agent codex  from ../beatctl.toml:4",
        "max-iterations 300  from ../beatctl.toml:3",
        f"max-failures 9  from ~/.config/beatctl/config.toml:{lines_of_user - 1}",
        "cooldown 5  from BEATCTL_COOLDOWN",
        "for 2h  from BEATCTL_FOR",
    ]
    assert "! BEATCTL_MODEL_ is no setting and was ignored. Did you mean BEATCTL_MODEL?" in lines
    (project / "beatctl.toml").write_text("max_iterations = 3\nagents = 4\n")
    found = beatctl("doctor", "--json", cwd=project, expect=0, env=config).json
    assert found["warnings"][0] == "./beatctl.toml:2: agents: no such key. Did you mean agent?"
    assert found["config"] == [
        {"path": str(project / "beatctl.toml"), "level": "repository", "exists": True},
        {"path": str(user), "level": "user", "exists": True},
    ]
    assert [setting["name"] for setting in found["settings"]] == ["agent", "max_failures"]
    assert found["settings"][0]["value"] == "claude"
    assert not (beatctl.home / "loops").exists()
