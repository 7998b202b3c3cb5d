"""What an agent started is looked for again and again: the cheap look must see what the whole one sees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from beatctl.activities.processes import tree
from tests.support import wait_until

PARENT = """
import os, subprocess, sys, threading
subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"])
threading.Thread(target=lambda: (subprocess.Popen(["sleep", "60"]), threading.Event().wait())).start()
if os.fork() == 0:
    os._exit(0)  # a zombie
print("ready", flush=True)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc")
def test_what_an_agent_started_is_seen_also_from_its_threads() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()

        def seen() -> list[tree.Process]:
            found = tree.below(parent.pid)
            # Between fork and exec a child still bears its parent's name.
            return found if sorted(process.name for process in found) == ["sh", "sleep", "sleep", "sleep"] else []

        try:
            found = wait_until(seen, "the shell, its two sleeps, and the thread's")
            whole = tree.descendants([parent.pid], tree.everything())
            assert {process.pid for process in found} == {process.pid for process in whole}
            assert tree.below(found[-1].pid) == []
        finally:
            for process in reversed(tree.below(parent.pid)):
                tree.send(process, 9)
            parent.kill()
    assert tree.below(parent.pid) == []
