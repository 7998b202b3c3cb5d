"""What breaks, as in the README's table: loops on a home of their own, and the processes to break."""

from __future__ import annotations

from tests.loops.conftest import loops, own_loops, repository

__all__ = ["loops", "own_loops", "repository"]
