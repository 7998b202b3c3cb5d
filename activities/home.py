"""Where beatctl keeps things: one home folder, and one folder in it for each loop.

`$BEATCTL_HOME` moves everything; two homes never meet. Only the Temporal server's program lives elsewhere
(the user's cache folder), since it is large and the same for every home.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def config_file(environ: Mapping[str, str]) -> Path | None:
    """Where the user's own settings stand: `$BEATCTL_CONFIG`, else `~/.config/beatctl/config.toml` on Linux.

    None where BEATCTL_CONFIG names /dev/null: no settings, as git has it.
    """
    named = environ.get("BEATCTL_CONFIG")
    if named:
        return None if named == os.devnull else Path(named).expanduser().absolute()
    import platformdirs

    return platformdirs.user_config_path("beatctl") / "config.toml"


@dataclass(frozen=True)
class LoopFolder:
    """What is kept of one loop. Private to the user (mode 0700)."""

    root: Path

    @property
    def id(self) -> str:
        return self.root.name

    @property
    def environment(self) -> Path:
        """The environment of the shell that started the loop, as JSON; mode 0600, deleted when the loop ends."""
        return self.root / "environment.json"

    @property
    def notify(self) -> Path:
        """Where the loop's notifications go, as JSON; secret, mode 0600, deleted after the last one."""
        return self.root / "notify.json"

    def forget_secrets(self) -> None:
        """Delete what is kept for no longer than the loop lives."""
        self.environment.unlink(missing_ok=True)
        self.notify.unlink(missing_ok=True)

    @property
    def workspace(self) -> Path:
        """What the workspace keeps: private git directory, copies of what an agent could destroy, manifests."""
        return self.root / "workspace"

    @property
    def now(self) -> Path:
        """What runs at this moment, for whoever looks."""
        return self.root / "now.json"

    @property
    def ticket(self) -> Path:
        """The loop's latest step; held by whoever writes for the loop."""
        return self.root / "ticket"

    @property
    def task(self) -> Path:
        """The loop's texts, from which each prompt is made: goal, steps, evaluator, check."""
        return self.root / "task.json"

    @property
    def interrupted(self) -> Path:
        """Where the snapshot of what an interrupted child left is noted, while the loop is being ended."""
        return self.root / "interrupted.json"

    @property
    def notes(self) -> Path:
        """The user's notes to the agent, as JSON: texts, oldest first."""
        return self.root / "notes.json"

    @property
    def freed(self) -> Path:
        """What `gc` has freed of the loop, and when, as JSON; it stays when everything else is gone."""
        return self.root / "freed.json"

    @property
    def dry_run(self) -> Path:
        """There where the folder is a dry run's, which has no row in the ledger: what it measured, as JSON."""
        return self.root / "dry-run.json"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def iteration(self, number: int) -> Path:
        """The folder of one iteration's agent and evaluator runs: prompts, outputs, results."""
        return self.runs / str(number)


@dataclass(frozen=True)
class Home:
    """The folder that holds everything beatctl keeps."""

    root: Path

    @classmethod
    def locate(cls, environ: Mapping[str, str] | None = None) -> Home:
        """`$BEATCTL_HOME`, else the platform's state folder (`~/.local/state/beatctl` on Linux)."""
        named = (os.environ if environ is None else environ).get("BEATCTL_HOME")
        if named:
            return cls(Path(named).expanduser().absolute())
        import platformdirs  # here: start-up of commands that never need it stays quick

        return cls(platformdirs.user_state_path("beatctl"))

    def create(self) -> Home:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def loops(self) -> Path:
        return self.root / "loops"

    @property
    def worktrees(self) -> Path:
        """The git worktrees of loops that were started with --worktree."""
        return self.root / "worktrees"

    @property
    def owners(self) -> Path:
        """One small file for each folder that a loop owns."""
        return self.root / "owners"

    @property
    def launches(self) -> Path:
        """A folder for each loop that a workflow is starting: what its command needs and says."""
        return self.root / "launches"

    @property
    def schedules(self) -> Path:
        """A folder for each schedule that was made here."""
        return self.root / "schedules"

    def schedule(self, name: str) -> Path:
        """Private to the user (mode 0700)."""
        return self.schedules / name

    def schedule_environment(self, name: str) -> Path:
        """The environment of the shell that made the schedule, which its loops get: as JSON, mode 0600."""
        return self.schedule(name) / "environment.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def loop(self, loop_id: str) -> LoopFolder:
        return LoopFolder(self.loops / loop_id)
