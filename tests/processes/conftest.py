from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from beatctl.activities.processes import tree
from tests.processes.support import Bench, alive


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.delenv("BEATCTL_FAULT", raising=False)
    bench = Bench(tmp_path)
    yield bench
    await bench.close()
    markers = [f"BEATCTL_TRY={try_.identity()}".encode() for try_ in bench.tries]
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    assert not [pid for pid in pids if alive(pid) and any(tree.has_marker(pid, marker) for marker in markers)]
