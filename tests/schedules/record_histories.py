"""Writes the histories that test_histories.py replays: `python -m tests.schedules.record_histories NUMBER` makes the
folder `histories/NUMBER`. What is there is never written anew: launches that an earlier version has begun go on."""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import tempfile
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from beatctl.activities.records import Status
from beatctl.worker.server_program import find_or_fetch
from beatctl.workflows.launch import LaunchInput, LaunchWorkflow
from tests.conftest import ORIGINAL
from tests.loops.conftest import Repository
from tests.loops.record_histories import neutral
from tests.schedules.conftest import Host
from tests.support import Beatctl, clean_environment, remove_tree, wait_until

HISTORIES = Path(__file__).with_name("histories")
_NO_LOOP = "\0"
"""The ids of their loops stand in the histories: they are ours."""
KINDS = ("ends", "is-refused", "is-cancelled", "cancels-its-loop", "ends-others")


class Recorder:
    """One host, and a launch of each kind on it."""

    def __init__(self, host: Host, target: Path) -> None:
        self.host, self.target = host, target
        folder = host.repository.folder.parent
        self.begun, self.go = folder / "begun", folder / "go"
        held = host.repository.agent(f"touch {self.begun}; until [ -e {self.go} ]; do sleep 0.1; done")
        self.held = ["wait", "--until", f"test -e {self.go}", "-a", held]

    async def launch(self, client: Client, kind: str, given: LaunchInput) -> WorkflowHandle[LaunchWorkflow, Status]:
        given = given.model_copy(update={"directory": str(self.host.repository.folder)})
        return await client.start_workflow(LaunchWorkflow.run, given, id=f"launch-{kind}", task_queue=self.host.queue)

    async def ended(self, handle: WorkflowHandle[LaunchWorkflow, Status]) -> None:
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        text = json.dumps(neutral(await handle.fetch_history(), self.host.repository.folder.parent, _NO_LOOP))
        name = handle.id.removeprefix("launch-")
        (self.target / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))

    async def record(self, client: Client) -> None:
        quick = ["pass", "--until", "true", "-a", "true"]
        await self.ended(await self.launch(client, "ends", LaunchInput(loop="ends", arguments=quick)))
        await self.ended(await self.launch(client, "is-refused", LaunchInput(loop="no", arguments=["pass"])))
        for kind, cancels in (("is-cancelled", False), ("cancels-its-loop", True)):
            self.begun.unlink(missing_ok=True)
            self.go.unlink(missing_ok=True)
            given = LaunchInput(loop=kind, arguments=self.held, cancels_loop=cancels)
            handle = await self.launch(client, kind, given)
            wait_until(self.begun.exists, "the agent")
            await handle.cancel()
            await self.ended(handle)
            self.go.touch()
            self.host.finished(kind)
        given = LaunchInput(schedule="night", arguments=quick, ends_others=True)
        await self.ended(await self.launch(client, "ends-others", given))


def main(number: str) -> int:
    target = HISTORIES / number
    target.mkdir(parents=True)
    folder = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    environ = clean_environment(folder, str(find_or_fetch(ORIGINAL, print)))
    beatctl = Beatctl({**environ, "BEATCTL_HOST": "host"})
    try:
        beatctl("up", "-d", cwd=folder, expect=0)  # which gives it that name
        host = Host(beatctl, Repository(folder / "repo", beatctl.environ))
        host.with_client(Recorder(host, target).record)
    finally:
        beatctl.close()
        remove_tree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
