"""What of a loop is told, and where to: from flags, variables and files to addresses that can be sent to.

The addresses hold secrets: what is shown of one is what activities/notify/addresses.py lets through.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatctl.activities.notify.addresses import FROM_ENVIRONMENT, NONE, shown
from beatctl.cli import levels
from beatctl.cli.output import say
from beatctl.cli.problems import Usage
from beatctl.cli.settings import Setting
from beatctl.cli.start_options import Typed, notify_events

if TYPE_CHECKING:
    from beatctl.activities.notify.happened import Event
    from beatctl.activities.notify.targets import Targets
    from beatctl.cli.follow import Signals
    from beatctl.cli.loops import Loops

NAMES = ("notify", "notify_on", "notify_command")
_POLL_S = 0.1
_SUPPORTED = "https://appriseit.com/services/"


@dataclass(frozen=True)
class Notifications:
    """Where a loop's messages go, and what is told."""

    urls: list[str] = field(repr=False)
    command: str | None = field(repr=False)
    on: list[Event]

    @property
    def places(self) -> list[str]:
        """As they may be shown: `["slack://…", "a command"]`."""
        return [*(shown(url) for url in self.urls), *(["a command"] if self.command else [])]

    def words(self) -> str:
        return f"{', '.join(self.places)} (on {', '.join(self.on)})"

    def targets(self, environ: Mapping[str, str], directory: Path | None) -> Targets:
        """With what sending takes: the environment of the loop's own commands, and where the command runs."""
        from beatctl.activities.agents.environment import child_environment
        from beatctl.activities.notify.targets import Targets

        place = str(directory) if directory is not None else None
        return Targets(
            urls=self.urls, command=self.command, directory=place, environment=child_environment(environ), on=self.on
        )


def notifications(settings: Mapping[str, Setting], environ: Mapping[str, str]) -> Notifications | None:
    """What the settings come to, each address tried; None where nothing is to be told. Raises Usage."""
    told, command = settings.get("notify"), settings.get("notify_command")
    urls = _urls(told, environ) if told is not None else []
    if told is not None and told.value == (NONE,) and command is not None and command.level != told.level:
        command = None  # of a weaker level: what was said last is that nothing is told
    on = settings.get("notify_on")
    if not urls and command is None:
        if on is not None and on.level == "flag" and (told is None or told.level != "flag"):
            raise _usage("--notify-on says what is told. Say where to: --notify URL, or --notify-command CMD.")
        return None
    events = notify_events(str(on.value) if on is not None else None, on.named if on is not None else "--notify-on")
    return Notifications(urls, str(command.value) if command is not None else None, events)


def of_configuration(root: Path | None, environ: Mapping[str, str], flags: Typed | None = None) -> Notifications | None:
    """What variables and files, and `flags`, say of any loop in the workspace `root`. Raises Usage."""
    settings = levels.merged(flags or Typed(), {}, root, environ)
    return notifications({name: settings[name] for name in NAMES if name in settings}, environ)


def refuse_to_travel(told: Mapping[str, Setting], whose: str) -> None:
    """For a loop whose settings travel through Temporal's history: raises Usage where an address would. `whose`
    environment and configuration hold where it starts: `that host's`."""
    notify = told.get("notify")
    for value in notify.value if notify is not None and isinstance(notify.value, tuple) else ():
        if value != NONE and not FROM_ENVIRONMENT.fullmatch(value.strip()):
            raise _usage(
                f"{notify.named if notify else ''} {shown(value)}: an address holds secrets, and would stand in the "
                f"Temporal server's history. Name a variable of {whose} environment that holds it: --notify env:NAME; "
                f"or write notify into {whose} config.toml."
            )


def keep(loops: Loops, loop: str, told: Notifications | None, directory: Path) -> None:
    """Keep them in the loop's folder, which is there, for as long as the loop lives."""
    if told is None:
        return
    from beatctl.activities.notify.targets import keep as write

    write(loops.folder(loop).notify, told.targets({**loops.environ, "PWD": str(directory)}, directory))


def wait_for_the_last(loops: Loops, loop: str, signals: Signals, patience_s: float = 90.0) -> None:
    """Where the machine may be gone with this command: wait until the loop's end was told or that was given up. A
    signal ends the wait."""
    place, end = loops.folder(loop).notify, time.monotonic() + patience_s
    signals.came = None
    while place.exists() and signals.came is None and time.monotonic() < end:
        time.sleep(_POLL_S)


def _urls(told: Setting, environ: Mapping[str, str]) -> list[str]:
    values = told.value if isinstance(told.value, tuple) else (str(told.value),)
    if NONE in values:
        if len(values) > 1:
            raise _usage(f"{told.named} {NONE} means no notifications at all: leave the others out, or it.")
        return []
    found = [_url(value.strip(), told, environ) for value in values]
    urls = [url for url in dict.fromkeys(found) if url is not None]
    for url in urls:
        _check(url, told.named)
    return urls


def _url(text: str, told: Setting, environ: Mapping[str, str]) -> str | None:
    """The address itself; None where a repository names a variable that is not set here."""
    if not text:
        raise _usage(f"{told.named} is empty. It takes an address such as ntfy://TOPIC, or env:NAME.")
    if not text.startswith("env:"):
        return text
    named = FROM_ENVIRONMENT.fullmatch(text)
    if named is None:
        raise _usage(f"{told.named}: env: takes the name of a variable that holds the address, such as env:SLACK_URL.")
    value = environ.get(named[1], "").strip()
    if value:
        return value
    if told.level == "repository":
        say(f"{told.named}: the variable {named[1]} is not set here, so nobody is notified there.")
        return None
    raise _usage(f"{told.named} env:{named[1]}: the variable {named[1]} is not set. It has to hold the address.")


def _check(url: str, named: str) -> None:
    """Raises Usage where nothing can be sent there."""
    import logging

    import apprise

    logging.getLogger("apprise").disabled = True  # it would quote the address
    if any("\ud800" <= character <= "\udfff" for character in url):
        raise _usage(f"{named} holds bytes that are not UTF-8.")
    if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
        raise _usage(f"{named}: {_not_understood(url)}")


def _not_understood(url: str) -> str:
    import apprise

    scheme = url.partition("://")[0].lower() if "://" in url else ""
    for service in apprise.Apprise().details()["schemas"]:
        if scheme and scheme in {*_all(service["protocols"]), *_all(service["secure_protocols"])}:
            forms = [str(form).replace("{schema}", scheme) for form in service["details"]["templates"]]
            shortest = " or ".join(sorted(forms, key=len)[:3])
            return f"{shown(url)} is no address of {service['service_name']}. Its form: {shortest}. {_SUPPORTED}"
    return (
        f"no service has addresses such as {shown(url)}. For example: ntfy://TOPIC, slack://TOKEN_A/TOKEN_B/TOKEN_C, "
        f"mailto://USER:PASSWORD@gmail.com, json://HOST/PATH, or env:NAME for one in a variable. All: {_SUPPORTED}"
    )


def _all(names: Any) -> list[str]:
    return [str(name).lower() for name in names or ()]


def _usage(text: str) -> Usage:
    return Usage(text, help_of="start")
