"""Make the recordings anew: drive the real programs against the scripted model, and keep what they print.

BEATCTL_TEST_AGENTS=folder/with/node_modules python -m tests.agents.record [NAME…]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.agents.drive import CASES, drive, path_with_agents, without_traces

RECORDINGS = Path(__file__).parent / "recordings"


def main(names: list[str]) -> None:
    path = path_with_agents(os.environ)
    RECORDINGS.mkdir(exist_ok=True)
    for name in names or CASES:
        with tempfile.TemporaryDirectory(prefix="bt-", dir=os.environ.get("TMPDIR")) as made:
            folder = Path(made).resolve()
            driven = drive(CASES[name], folder, path)
            for stream in ("stdout", "stderr"):
                text = (folder / stream).read_text(errors="replace")
                (RECORDINGS / f"{name}.{stream}").write_text(without_traces(text, folder, path))
            ended = f"{driven.exit_code}" if driven.signal is None else f"signal {driven.signal}"
            (RECORDINGS / f"{name}.exit").write_text(ended + "\n")
            outcome = driven.outcome
            print(f"{name}: {ended}, {driven.spec.version}, {outcome.kind}: {outcome.error or outcome.summary}")


if __name__ == "__main__":
    main(sys.argv[1:])
