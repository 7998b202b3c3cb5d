"""What goes into an agent's process and what comes out of it, whichever agent it is."""

from __future__ import annotations

import signal as signals
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from beatctl.activities.agents.reset_time import machine_time, reset_time

Kind = Literal["done", "failed", "rate-limited", "overloaded", "authentication", "missing"]
"""`overloaded`: the service could not take the run just now, whoever asks; a limit is the account's own."""

LONGEST_SUMMARY = 2000
NOT_STARTED = (126, 127)
"""Exit codes of a program that is there but can't be run, and of one that is not there, as shells have them."""


class Prompted(BaseModel):
    """One agent run's command line."""

    argv: list[str]
    stdin: str | None = None
    """Path of the file that is the run's standard input; None: nothing to read."""
    environment: dict[str, str] = {}
    """Variables this run needs beside those of the loop."""


class Usage(BaseModel):
    """Tokens by what they cost."""

    model: str | None = None
    """None: the run's one model."""
    input_tokens: int = 0
    """All that was sent, cached or not."""
    cached_tokens: int = 0
    """Those of them that came from a cache."""
    output_tokens: int = 0


class AgentOutcome(BaseModel):
    """How an agent's run went, as it told itself."""

    ok: bool
    kind: Kind
    error: str | None = None
    """A sentence a person can act on; None when ok."""
    summary: str = ""
    """The agent's last message: one paragraph, at most 2000 characters."""
    session_id: str | None = None
    model: str | None = None
    version: str | None = None
    """Where the run itself tells it."""
    cost_usd: float | None = None
    """US dollars; None where neither the agent nor the price table tells."""
    cost_estimated: bool = False
    """The cost is the tokens' by the price table, not the agent's own figure."""
    tokens: int | None = None
    """Input and output of every model the run used, cached input included, as the agent adds them up; None where it
    does not tell."""
    usage: list[Usage] = []
    """The same tokens apart, where the agent tells them so."""
    reset_at: float | None = None
    """Unix seconds at which a rate limit ends, where the agent tells."""


@dataclass(frozen=True)
class Ended:
    """An agent process that has ended, and the files it wrote."""

    stdout: Path
    stderr: Path
    last_message_file: Path
    exit_code: int | None
    signal: int | None
    at: float | None = None
    """When it ended, unix seconds: what "resets 10pm" is to be seen from. None: just now."""
    zone: str | None = None
    """The TZ that it ran with."""

    @property
    def well(self) -> bool:
        return self.exit_code == 0 and self.signal is None

    @property
    def how(self) -> str:
        """`exited with 7`, `was ended by SIGKILL`."""
        if self.signal is None:
            return "did not end" if self.exit_code is None else f"exited with {self.exit_code}"
        try:
            return f"was ended by {signals.Signals(self.signal).name}"
        except ValueError:
            return f"was ended by signal {self.signal}"

    def reset_in(self, text: str) -> float | None:
        """When the limit ends of which this run tells in `text`, unix seconds."""
        return reset_time(text, machine_time(time.time() if self.at is None else self.at, self.zone))


def told_reset(seconds: float | None) -> float | None:
    """A moment from an agent's event, in unix seconds; some have milliseconds. None for what is none."""
    if seconds is None or not 0 < seconds < 1e14:
        return None
    return seconds / 1000 if seconds > 1e11 else seconds


def paragraph(text: str, longest: int = LONGEST_SUMMARY) -> str:
    """`text` as one paragraph, cut at `longest` characters."""
    words = " ".join(text.split())
    return words if len(words) <= longest else words[: longest - 1].rstrip() + "…"


def not_allowed(summary: str, denied: Iterable[str]) -> str:
    """A summary that also says what the agent was not permitted to do: often the reason that nothing came of a run."""
    names = ", ".join(dict.fromkeys(paragraph(name, 100) for name in list(denied)[:5]))
    return paragraph(f"{summary} (It was not allowed: {names}.)") if names else summary
