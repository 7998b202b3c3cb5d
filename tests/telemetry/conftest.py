"""A loop of three iterations whose worker tells a receiver of it: run once for all tests of the group."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import Beatctl, clean_environment, remove_tree, wait_until
from tests.telemetry import three
from tests.telemetry.receiver import Receiver, receiving


@dataclass(frozen=True)
class Told:
    """What was received of a loop, and how it stands in the ledger."""

    receiver: Receiver
    """As it was when all of the loop was there."""
    live: Receiver
    """As it is: other loops may have been run since."""
    beatctl: Beatctl
    folder: Path
    loop: str


@pytest.fixture(scope="session")
def told(server_program: str | None) -> Iterator[Told]:
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    with receiving() as receiver:
        beatctl = Beatctl({**clean_environment(folder, server_program), **receiver.environment, **three.SETTINGS})
        try:
            repository = three.repository(folder / "repo", beatctl.environ)
            loop = three.run(beatctl, repository)
            wait_until(lambda: three.is_all_there(receiver, loop), "all that is told of the loop")
            yield Told(deepcopy(receiver), receiver, beatctl, repository, loop)
        finally:
            beatctl.close()
            remove_tree(folder)
