"""The runs of loops from before a run's files lay beside each other, brought into the layout of run_files.py.

Then a run was a folder with its own files (`runs/12/agent/prompt.md`) and a folder for each try (`try-1/stdout`), in
which the journal's lines were files of their own: `spec.json`, `started`, `result.json`.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from beatctl.activities.run_files import TryFiles, beside

_NOW_IN_THE_JOURNAL = ("spec.json", "started", "result.json")


def flatten(loops: Path) -> None:
    """Bring every ended run of every loop into today's layout. What still runs is left to the version that began it.

    May be killed at any moment, and repeated.
    """
    for run in loops.glob("*/runs/*/*"):
        tries = sorted(run.glob("try-*")) if run.is_dir() and not run.is_symlink() else []
        if tries and all((one / "result.json").exists() for one in tries):
            with contextlib.suppress(OSError, ValueError):  # damaged: no reason to keep everything else from its owner
                _flatten(run, tries)


def _flatten(run: Path, tries: list[Path]) -> None:
    for folder in tries:
        one = TryFiles(run, int(folder.name.removeprefix("try-")))
        if not one.journal.exists():
            _write_journal(one, folder)
        for file in folder.iterdir():
            if file.name not in _NOW_IN_THE_JOURNAL:
                file.rename(one.path(file.name))
    for file in run.iterdir():
        if file not in tries:
            file.rename(beside(run, file.name))
    for folder in tries:
        for name in _NOW_IN_THE_JOURNAL[:-1]:
            (folder / name).unlink(missing_ok=True)
    # Last: while it is there, a repetition finds the run again.
    for folder in tries:
        (folder / "result.json").unlink(missing_ok=True)
        folder.rmdir()
    run.rmdir()


def _write_journal(one: TryFiles, folder: Path) -> None:
    lines = [_line(folder / "spec.json")]
    with contextlib.suppress(FileNotFoundError):
        lines += [line for line in (folder / "started").read_text(encoding="utf-8").splitlines() if line]
    lines.append('{"result":' + _line(folder / "result.json") + "}")
    draft = one.path("part")
    draft.touch(mode=0o600)
    draft.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    draft.rename(one.journal)


def _line(file: Path) -> str:
    return json.dumps(json.loads(file.read_bytes()))
