"""Where messages go is checked before anything starts, and nobody but the loop's user decides it."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.notify.happened import EVENTS
from beatctl.cli.notifications import notifications
from beatctl.cli.problems import Usage
from beatctl.cli.settings import Setting
from beatctl.cli.start_options import notify_events
from tests.loops.conftest import Loops
from tests.notify.conftest import Receiver
from tests.support import Beatctl, Done, wait_until

LOOP = ("fix it", "--until", "false", "-a", "true")
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


def refused(beatctl: Beatctl, place: Path, *words: str, env: dict[str, str] | None = None) -> str:
    """What `start` says; it started nothing."""
    done = beatctl("start", *LOOP, *words, cwd=place, env=env, expect=2)
    assert not (beatctl.home / "ledger.db").exists() or not list((beatctl.home / "loops").glob("*"))
    return done.stderr


@pytest.fixture
def folder(place: Path) -> Path:
    made = place / "folder"
    made.mkdir()
    return made


def test_an_address_that_nothing_can_be_sent_to_is_refused_with_its_form_and_without_its_secrets(
    beatctl: Beatctl, folder: Path
) -> None:
    said = refused(beatctl, folder, "--notify", "slack://TOPSECRET")
    assert "--notify: slack://… is no address of Slack. Its form: slack://{" in said
    assert "TOPSECRET" not in said
    said = refused(beatctl, folder, "--notify", "bogus://TOPSECRET/x")
    assert "--notify: no service has addresses such as bogus://…. For example: ntfy://TOPIC" in said
    assert "TOPSECRET" not in said
    assert "TOPSECRET" not in refused(beatctl, folder, "--notify", "TOPSECRET")


def test_a_variable_that_holds_no_address_is_refused_by_name(beatctl: Beatctl, folder: Path) -> None:
    assert "the variable MY_HOOK is not set" in refused(beatctl, folder, "--notify", "env:MY_HOOK")
    env = {"MY_HOOK": "sk-a-key-of-something-else"}
    said = refused(beatctl, folder, "--notify", "env:MY_HOOK", env=env)
    assert "sk-a-key" not in said
    assert "takes the name of a variable" in refused(beatctl, folder, "--notify", "env:$MY_HOOK")


def test_what_is_told_must_be_a_word_there_is_and_needs_somewhere_to_go(beatctl: Beatctl, folder: Path) -> None:
    said = refused(beatctl, folder, "--notify", "ntfy://x", "--notify-on", "finish,end")
    assert 'finish, failure, pause, waiting, best, with commas between them, not "end"' in said
    assert "Say where to: --notify URL" in refused(beatctl, folder, "--notify-on", "finish")
    assert "--notify-command is empty" in refused(beatctl, folder, "--notify-command", " ")
    assert "leave the others out" in refused(beatctl, folder, "--notify", "none", "--notify", "ntfy://x")


def test_the_events_that_can_be_asked_for_are_those_that_are_told() -> None:
    assert notify_events(",".join(reversed(EVENTS)), "") == list(EVENTS)
    assert notify_events(None, "") == ["finish", "failure", "pause", "waiting"]


def test_a_repository_cannot_send_the_results_of_its_users_anywhere(beatctl: Beatctl, folder: Path) -> None:
    file = folder / "beatctl.toml"
    file.write_text(f'notify = "{SLACK}"\n')
    said = refused(beatctl, folder)
    assert "./beatctl.toml:1: notify: a repository can't say where your results are sent" in said
    assert "A1BRTD4JD" not in said
    file.write_text('notify_command = "curl http://elsewhere"\n')
    assert "./beatctl.toml:1: notify_command: says where your results are sent" in refused(beatctl, folder)


def test_a_variable_that_a_repository_names_is_used_where_it_is_set_and_passed_over_with_a_word_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {"notify": Setting(("env:TEAM",), "beatctl.toml:1", "beatctl.toml:1: notify", "repository")}
    assert notifications(told, {}) is None
    assert "the variable TEAM is not set here, so nobody is notified there" in capsys.readouterr().err
    found = notifications(told, {"TEAM": SLACK})
    assert found is not None
    assert (found.urls, found.words()) == ([SLACK], "slack://… (on finish, failure, pause, waiting)")
    with pytest.raises(Usage, match="TEAM is not set"):
        notifications({"notify": Setting(("env:TEAM",), "loop.toml:1", "loop.toml:1: notify", "loop file")}, {})


def test_an_address_does_not_travel_to_another_host_through_the_servers_history(beatctl: Beatctl, folder: Path) -> None:
    said = refused(beatctl, folder, "--on", "build-2", "-C", "/srv", "--notify", SLACK)
    assert "--notify slack://…: an address holds secrets" in said
    assert "A1BRTD4JD" not in said
    line = ("schedule", "create", "--cron", "0 22 * * *", "--", *LOOP, "--notify", SLACK)
    said = beatctl(*line, cwd=folder, expect=2).stderr
    assert "Name a variable of your environment that holds it: --notify env:NAME" in said
    assert "A1BRTD4JD" not in said
    for words in (("--notify", "env:TEAM"), ("--notify", "none")):
        assert "other hosts are reached by a Temporal server" in refused(
            beatctl, folder, "--on", "build-2", "-C", "/srv", *words
        )


def test_none_silences_what_the_users_own_file_says(environment: dict[str, str]) -> None:
    none = Setting(("none",), "--notify", "--notify", "flag")
    command = Setting("say it", "config.toml:2", "config.toml:2", "user")
    assert notifications({"notify": none, "notify_command": command}, environment) is None
    typed = Setting("say it", "--notify-command", "--notify-command", "flag")
    found = notifications({"notify": none, "notify_command": typed}, environment)
    assert found is not None
    assert found.command == "say it"


def test_a_test_message_says_of_each_target_whether_it_was_taken(
    beatctl: Beatctl, folder: Path, receiver: Receiver
) -> None:
    def tried(*words: str, expect: int) -> Done:
        return beatctl("notify", "test", *words, cwd=folder, expect=expect)

    done = tried("--notify", receiver.url("in-secret"), "--notify-command", "cat > heard", expect=0)
    assert done.stdout == f"json://{receiver.place}/…: taken\nthe command: taken\n"
    assert [got["title"] for got in receiver.got] == ["beatctl: a test"]
    assert '"event": "test"' in (folder / "heard").read_text()
    receiver.answer = 404
    done = tried("--notify", receiver.url("in-secret"), "--notify-command", "echo no bell; exit 3", "--json", expect=1)
    first, second = done.json
    assert (first["ok"], second["ok"]) == (False, False)
    assert "404" in first["error"]
    assert second["error"] == "exit code 3: no bell"
    assert "in-secret" not in done.stdout + done.stderr
    assert not (beatctl.home / "loops").exists()


def test_what_is_configured_is_listed_without_its_secrets_and_nothing_sent(
    beatctl: Beatctl, folder: Path, receiver: Receiver
) -> None:
    config = folder / "config.toml"
    config.write_text(f'notify = ["{receiver.url("in-secret")}", "{SLACK}"]\nnotify_on = "failure"\n')
    env = {"BEATCTL_CONFIG": str(config)}
    done = beatctl("notify", cwd=folder, env=env, expect=0)
    assert done.stdout == f"json://{receiver.place}/…, slack://… (on failure)\n"
    told = beatctl("doctor", "--json", cwd=folder, env=env).stdout
    assert "slack://" in told
    assert "A1BRTD4JD" not in told + beatctl("doctor", cwd=folder, env=env).stdout
    assert "Nothing says where messages go" in beatctl("notify", cwd=folder, expect=2).stderr
    assert receiver.got == []


def test_a_loop_that_goes_on_after_its_end_tells_whom_the_configuration_names_now(
    loops: Loops, receiver: Receiver
) -> None:
    agent = loops.repository.agent("echo $(($(cat n) - 1)) > n")
    words = ("lower n", "--eval", "cat n", "--minimize", "-a", agent, "-n", "1", "--notify", receiver.url("typed"))
    loop = loops.start(*words, expect=0)["id"]
    receiver.the(loop, "finish")

    def again(env: dict[str, str] | None = None) -> Done:
        folder = loops.repository.folder
        return loops.beatctl("resume", loop, "-n", "+1", cwd=folder, env=env, expect=0)

    assert f"Where {loop} sent its messages was forgotten with its end" in again().stderr
    assert receiver.events(loop) == ["finish"]
    done = again({"BEATCTL_NOTIFY": receiver.url("configured"), "BEATCTL_NOTIFY_ON": "finish"})
    assert f"tells     json://{receiver.place}/… (on finish)" in done.stderr
    wait_until(lambda: len(receiver.got) == 2, "the message of the third end")
    assert [got["path"] for got in receiver.got] == ["/typed", "/configured"]
