"""An error that nobody foresaw: kept in a file, told in a line. One that the machine is to blame for: told in words."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from beatctl.cli.output import say, visible
from beatctl.cli.problems import ENDED_WITHOUT, ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from beatctl.activities.home import Home


def told(error: Exception) -> int:
    """Say what happened and return the exit code."""
    text, code = words(error)
    say(text)
    return code


def words(error: Exception) -> tuple[str, int]:
    """What happened, where need be after writing HOME/logs/crash-….txt, and the exit code."""
    from beatctl.activities.home import Home
    from beatctl.worker import crashes

    home = Home.locate()
    refusal = refused(error, home)
    if refusal is not None:
        return refusal, ENVIRONMENT
    what = visible(f"{type(error).__name__}: {error}")
    try:
        place = f"The details are in {crashes.write(error, home.logs)}"
    except OSError as unwritable:
        place = f"The details could not be kept: {unwritable}."
    return f"beatctl itself failed ({what[:200]}). Running loops go on. {place}", ENDED_WITHOUT


def refused(error: Exception, home: Home) -> str | None:
    """What a full disk, missing rights or a damaged ledger mean for the person; None for any other error."""
    # By name: their modules are heavy, and rarely what failed.
    if type(error).__name__ in ("NewerLedger", "BadProfile", "BadPayloadKey"):
        return visible(str(error))
    if type(error).__module__ == "sqlite3":
        return _of_ledger(str(error), home)
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space left on the disk{_holding(error)}. Free some, then type the same again."
    if isinstance(error, FileNotFoundError) and error.filename is None and not _stands_somewhere():
        return "The folder you are in is gone: change to another."
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
        return f"The system refuses more ({visible(error.strerror or '')}). Close some programs, then try again."
    if isinstance(error.filename, str) and os.path.abspath(error.filename).startswith(str(home.root)):
        return unusable(home.root, error)
    return None


def unusable(root: Path, error: Exception) -> str:
    """The home folder can't hold what beatctl keeps."""
    if root.exists() and not root.is_dir():
        return f"{root} is a file, and beatctl keeps its things in a folder: name one in BEATCTL_HOME."
    why = visible(str(getattr(error, "strerror", None) or error)).lower()
    about = f" ({error.filename})" if isinstance(error, OSError) and isinstance(error.filename, str) else ""
    return (
        f"beatctl can't keep its things in {root}: {why}{about}. "
        "Make that folder writable, or name another in BEATCTL_HOME."
    )


def _of_ledger(why: str, home: Home) -> str:
    if "locked" in why:
        return f"Another program has had the ledger {home.ledger} locked for over 30 s. Try again when it has ended."
    if "full" in why:
        return f"No space left on the disk that holds {home.ledger}. Free some, then type the same again."
    if any(word in why for word in ("readonly", "unable to open", "disk I/O")):
        return unusable(home.root, Exception(f"its ledger.db: {why}"))
    return (
        f"The ledger {home.ledger} is damaged: {visible(why)}. Move it away to begin a new one; the snapshots of every "
        "experiment stay in their repositories, under refs/beatctl."
    )


def _stands_somewhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _holding(error: OSError) -> str:
    return f" that holds {error.filename}" if isinstance(error.filename, str) else ""
