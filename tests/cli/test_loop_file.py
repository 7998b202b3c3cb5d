"""Loop files: what is written in them holds, and every mistake is told with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.cli.loop_file import lines_of_keys, read
from beatctl.cli.problems import Usage
from beatctl.cli.settings import typed_of
from tests.support import Beatctl

GOOD = '''\
# a night's work
goal = """
make it small
until = "not this line"
"""

"eval" = 'node size.js'   # prints bytes
direction = "minimize"
steps = [
  "first",   # ]
  "max_failures = 9",
]
max-iterations = 1_000
cooldown = 5
for = "1h30m"
target = -0.5
allow-large = true
'''

WRONG = [
    ('goal = "x"\nmax_iteration = 3', ":2: max_iteration: no such key. Did you mean max_iterations?"),
    ("frobnicate = 1", ":1: frobnicate: no such key. There are: goal, "),
    ('[limits]\nfor = "3h"', ":1: limits: no such key. There are no sections"),
    ('goal = "x"\n\ncooldown = "5 potatoes"', ':3: cooldown does not understand "5 potatoes".'),
    ("for = 8", ":1: for 8 needs a unit: 8s, 8m or 8h."),
    ("max_failures = -1", ':1: max_failures can\'t be negative: "-1".'),
    ("max_iterations = 2.5", ':1: max_iterations takes a whole number, 0 for no limit, not "2.5".'),
    ("max_iterations = true", ":1: max_iterations: takes a number, or a text in quotes"),
    ("target = nan", ':1: target takes a number such as 90 or -0.5, not "nan".'),
    (
        "agent_timeout = 08:00:00",
        ":1: agent_timeout: takes a number, or a text in quotes as on the command line, not a",
    ),
    ("until = 3", ':1: until: takes a text in quotes: until = "…", not 3.'),
    ('minimize = "yes"', ':1: minimize: takes true or false, not "yes".'),
    ('steps = "a"', ':1: steps: takes a list of texts: steps = ["…", "…"], not "a".'),
    ('steps = ["a", 3]', "not a list with 3 in it."),
    ('goal = ["a"]', ":1: goal: takes a text in quotes"),
    ('memory = "elephant"', ':1: memory takes ledger, last, session or none, not "elephant".'),
    ('direction = "up"', ':1: direction takes minimize or maximize, not "up".'),
    ('until = " "', ":1: until is empty."),
    ('until = "a\\u0000b"', ":1: until: holds a NUL character"),
    ("max_iterations = 3\nmax-iterations = 4", ":2: max-iterations: the same as max_iterations"),
    (
        'goal = "x"\nuntil = npm test',
        ':2: not TOML: Invalid value, column 9. Texts stand in quotes: until = "npm test"',
    ),
    ("cooldown = 1\ncooldown = 2", ":2: not TOML: this key is there twice."),
    ('goal = """\nnever closed\n\n', ":2: not TOML: Unterminated string."),
    ("a b c", ":1: not TOML: Expected '='"),
    ("steps = " + "[" * 5000, "not TOML: Too many brackets."),
]


def said(path: Path, level: str = "loop file") -> str:
    with pytest.raises(Usage) as error:
        read(path, path.name, level)
    assert "\n" not in error.value.text
    return error.value.text


def test_what_stands_in_a_file_is_what_the_same_flags_would_say(place: Path) -> None:
    path = place / "loop.toml"
    for text in (GOOD, GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD):
        path.write_bytes(text.encode())
        found = read(path, "loop.toml", "loop file")
        typed = typed_of(found)
        assert typed.goal == ('make it small\nuntil = "not this line"\n',)
        assert (typed.until, typed.eval, typed.direction) == (None, "node size.js", "minimize")
        assert typed.steps == ("first", "max_failures = 9")
        assert vars(typed.limits) | {"max_iterations": "1000", "cooldown": "5", "for_": "1h30m"} == vars(typed.limits)
        assert (typed.limits.target, typed.limits.max_failures, typed.allow_large) == ("-0.5", None, True)
        lines = {name: setting.source.rpartition(":")[2] for name, setting in found.items()}
        assert lines == {
            "goal": "2",
            "eval": "7",
            "direction": "8",
            "steps": "9",
            "max_iterations": "13",
            "cooldown": "14",
            "for": "15",
            "target": "16",
            "allow_large": "17",
        }


def test_a_folder_in_a_file_is_meant_from_the_files_own(place: Path) -> None:
    path = place / "loops" / "loop.toml"
    path.parent.mkdir()
    for written, meant in (("../app", place / "loops" / "../app"), (str(place), place), ("~/app", Path.home() / "app")):
        path.write_text(f'directory = "{written}"\n')
        assert typed_of(read(path, "loop.toml", "loop file")).directory == str(meant)


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_a_mistake_in_a_file_is_told_with_file_line_and_key(place: Path, text: str, sentence: str) -> None:
    path = place / "loop.toml"
    path.write_text(text)
    told = said(path)
    assert told.startswith("loop.toml:")
    assert sentence in told


def test_what_is_no_file_of_settings_is_told(place: Path) -> None:
    assert said(place / "gone.toml") == "There is no file gone.toml. beatctl init gone.toml writes one."
    assert "is a folder" in said(place)
    assert "no ordinary file" in said(Path("/dev/null"))
    path = place / "loop.toml"
    path.write_bytes(b'goal = "x"\nuntil = "\xe9"\n')
    assert said(path) == "loop.toml:2: not UTF-8. Save the file in that encoding."
    path.write_bytes(b"#" * 2_000_000)
    assert "larger than 1 MiB" in said(path)


def test_a_repository_decides_neither_what_a_loop_does_nor_what_an_agent_may(place: Path) -> None:
    path = place / "beatctl.toml"
    for name in ("until", "goal", "eval"):
        path.write_text(f'agent = "claude"\n{name} = "x"\n')
        for level in ("repository", "user"):
            assert said(path, level).startswith(f"beatctl.toml:2: {name}: says what one loop is about")
    path.write_text('permissions = "full"\n')
    assert "a repository can't give an agent full permissions" in said(path, "repository")
    for level in ("user", "loop file"):
        assert read(path, "x", level)["permissions"].value == "full"
    path.write_text('agents = "claude"\n')
    assert said(path, "repository") == "beatctl.toml:1: agents: no such key. Did you mean agent?"


def test_a_long_text_takes_no_long_time_to_find_lines_in() -> None:
    text = 'goal = """\n' + "a line of a long goal\n" * 20_000 + '"""\nuntil = "x"\n'
    assert lines_of_keys(text) == {"goal": 1, "until": 20_003}


def test_a_wrong_file_starts_nothing(beatctl: Beatctl, place: Path) -> None:
    project = place / "project"
    project.mkdir()
    (project / "loop.toml").write_text('goal = "x"\nuntil = "true"\nagent = "true"\nmax_iteration = 3\n')
    done = beatctl("start", "-f", "loop.toml", cwd=project, expect=2)
    assert done.stderr.splitlines() == [
        "loop.toml:4: max_iteration: no such key. Did you mean max_iterations?",
        "Help: beatctl start --help",
    ]
    for text, sentence in (
        ("# nothing\n", 'loop.toml has no goal. Write one: goal = "fix the failing test"'),
        ('goal = "x"\n', "loop.toml does not say how success is told."),
        ('goal = "x"\nuntil = "true"\ntarget = 3\n', "loop.toml:3: target goes with --eval"),
        ('goal = "x"\nuntil = "true"\ndirectory = "gone"\n', "loop.toml:3: directory takes the folder to work in."),
    ):
        (project / "loop.toml").write_text(text)
        done = beatctl("start", "--file", "loop.toml", cwd=project, expect=2)
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    done = beatctl("start", cwd=project, expect=2)
    assert done.stderr == "What is the goal? To take it from loop.toml: beatctl start -f loop.toml\n"
    assert not beatctl.home.exists()


def test_the_users_own_file_is_the_one_that_is_named_or_none(beatctl: Beatctl, place: Path) -> None:
    project = place / "project"
    project.mkdir()
    other = place / "other.toml"
    other.write_text("nonsense = 1\n")
    words = ("start", "x", "--until", "true", "-a", "./gone")
    done = beatctl(*words, cwd=project, env={"BEATCTL_CONFIG": str(other)}, expect=2)
    assert done.stderr.startswith("../other.toml:1: nonsense: no such key.")
    done = beatctl(*words, cwd=project, env={"BEATCTL_CONFIG": str(place / "typo.toml")}, expect=2)
    assert done.stderr.startswith("There is no file ../typo.toml.")
    done = beatctl(*words, cwd=project, env={"BEATCTL_CONFIG": "/dev/null"}, expect=3)
    assert "no such file" in done.stderr
    (project / "beatctl.toml").symlink_to("/dev/null")
    assert "beatctl.toml is no ordinary file." in beatctl(*words, cwd=project, expect=2).stderr
