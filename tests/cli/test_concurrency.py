"""How many run at once on a host: from flags, the environment and the user's configuration, never from a repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.cli import concurrency, levels, loop_file
from beatctl.cli.problems import Usage
from beatctl.cli.settings import typed_of
from beatctl.worker.concurrency import Concurrency, read, variables

VARIABLE = "BEATCTL_MAX_CONCURRENT_AGENTS"


def config(place: Path, text: str) -> dict[str, str]:
    path = place / "config.toml"
    path.write_text(text)
    return {"BEATCTL_CONFIG": str(path)}


def test_a_flag_is_stronger_than_the_environment_and_that_than_the_configuration(place: Path) -> None:
    environ = config(place, "max_concurrent_agents = 2\nmax_concurrent_evaluators = 3\n")
    assert concurrency.chosen({"BEATCTL_CONFIG": "/dev/null"}) == Concurrency(agents=0, evaluators=1)
    assert concurrency.chosen(environ) == Concurrency(agents=2, evaluators=3)
    assert concurrency.chosen({**environ, VARIABLE: "5"}) == Concurrency(agents=5, evaluators=3)
    assert concurrency.chosen({**environ, VARIABLE: "5"}, agents="7") == Concurrency(agents=7, evaluators=3)
    assert concurrency.chosen(environ, evaluators="0").evaluators == 0


def test_what_the_commands_choose_is_what_the_worker_reads() -> None:
    for told in (Concurrency(), Concurrency(4, 0), Concurrency(0, 2)):
        assert read(variables(told)) == told
    assert read({VARIABLE: "many"}) == Concurrency()


@pytest.mark.parametrize("word", ["-1", "two", "1.5", ""])
def test_a_wrong_number_is_told_with_its_flag(word: str) -> None:
    with pytest.raises(Usage) as wrong:
        concurrency.chosen({"BEATCTL_CONFIG": "/dev/null"}, agents=word)
    assert wrong.value.text.startswith("--max-concurrent-agents")


def test_a_wrong_number_is_told_with_the_place_it_stands_in(place: Path) -> None:
    with pytest.raises(Usage) as wrong:
        concurrency.chosen(config(place, '\nmax_concurrent_agents = "few"\n'))
    assert f"{place}/config.toml:2: max_concurrent_agents" in wrong.value.text
    with pytest.raises(Usage) as wrong:
        concurrency.chosen({"BEATCTL_CONFIG": "/dev/null", VARIABLE: "few"})
    assert wrong.value.text.startswith(VARIABLE)


def test_a_repository_or_a_loop_file_says_nothing_of_the_host(place: Path) -> None:
    file = place / "beatctl.toml"
    file.write_text("max_concurrent_agents = 9\n")
    for level in ("repository", "loop file"):
        with pytest.raises(Usage) as wrong:
            loop_file.read(file, "beatctl.toml", level)
        assert "config.toml" in wrong.value.text


def test_what_is_said_of_the_host_is_no_setting_of_a_loop(place: Path) -> None:
    environ = config(place, 'max_concurrent_agents = 2\nagent = "codex"\n')
    merged = levels.merged(typed_of({}), {}, place, {**environ, "BEATCTL_MAX_CONCURRENT_EVALUATORS": "2"})
    assert typed_of(merged).agent == "codex"
    assert "max-concurrent" not in "".join(levels.told(merged, environ))
    found, wrong = levels.examine(None, None, environ)
    assert not wrong
    assert ("max_concurrent_agents", "2") in [(one["name"], one["value"]) for one in found["settings"]]
