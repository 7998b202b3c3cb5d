"""The scripted model as a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.agents.scripted_llm import Script, serve


@pytest.fixture
def scripted_llm() -> Iterator[Callable[[Script], str]]:
    """Starts a model that follows the given script, for as long as the test runs; returns its address."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(serve(script))
