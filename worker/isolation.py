"""How beatctl starts Python again, so that nothing of the user's repository gets imported. Standard library only."""

from __future__ import annotations

import site
import sys
from pathlib import Path


def isolation_flags() -> list[str]:
    """`-I`; where beatctl lives in the user's own site folder, which `-I` would hide, `-E -P`."""
    users = Path(site.getusersitepackages()).resolve()
    return ["-E", "-P"] if Path(__file__).resolve().is_relative_to(users) else ["-I"]


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line that runs one of beatctl's modules in a Python of its own."""
    return [sys.executable, *isolation_flags(), "-m", module, *arguments]
