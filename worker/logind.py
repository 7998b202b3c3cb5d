"""What systemd's login manager does with a user's processes at logout: lingering, KillUserProcesses. Standard library
only."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_FOLDERS = ("usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd")
"""The later ones win."""


@dataclass(frozen=True)
class Logout:
    """What a logout ends."""

    lingers: bool
    """Whether the user's services go on, and start with the machine."""
    kills: bool
    """Whether everything else the user left running is ended."""


def is_there(root: Path = ROOT) -> bool:
    """Whether the machine runs systemd."""
    return (root / "run/systemd/system").is_dir()


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this number
        return ""


def at_logout(name: str, root: Path = ROOT) -> Logout:
    return Logout((root / "var/lib/systemd/linger" / name).exists(), kills_processes_of(name, _texts(root)))


def _texts(root: Path) -> list[str]:
    """logind.conf and what is dropped in beside it, in the order in which they hold."""
    files = [root / folder / "logind.conf" for folder in _FOLDERS]
    mains = [path for path in files if path.is_file()]
    drop_ins: dict[str, Path] = {}
    for folder in _FOLDERS:
        drop_ins |= {path.name: path for path in (root / folder / "logind.conf.d").glob("*.conf")}
    found = []
    for path in [*mains[-1:], *(drop_ins[name] for name in sorted(drop_ins))]:
        try:
            found.append(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return found


def kills_processes_of(name: str, texts: Iterable[str]) -> bool:
    """Whether logind ends the processes of this user at logout. Pure: `texts` are its configuration, the later win.

    What a distribution was built with stands in a comment of the file it ships.
    """
    held = {"KillUserProcesses": "no", "KillOnlyUsers": "", "KillExcludeUsers": "root"}
    for text in texts:
        for key in held:
            built_in = re.findall(rf"^\s*#\s*{key}=(.*)$", text, re.MULTILINE)
            said = re.findall(rf"^\s*{key}\s*=(.*)$", text, re.MULTILINE)
            for value in (said or built_in)[-1:]:
                held[key] = value.strip()
    kills = held["KillUserProcesses"].lower() in ("yes", "true", "on", "1")
    only = held["KillOnlyUsers"].split()
    return kills and name not in held["KillExcludeUsers"].split() and (not only or name in only)
