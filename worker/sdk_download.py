"""`python -m beatctl.worker.sdk_download FOLDER VERSION`: have the Temporal SDK download its dev server into a folder.

The SDK has no call that only downloads: it starts the server too, which is ended at once.
"""

from __future__ import annotations

import asyncio
import sys

from beatctl.worker.leaving import leave


async def download(folder: str, version: str) -> None:
    from temporalio.testing import WorkflowEnvironment

    environment = await WorkflowEnvironment.start_local(
        download_dest_dir=folder, dev_server_download_version=f"v{version}"
    )
    await environment.shutdown()


if __name__ == "__main__":
    try:
        asyncio.run(download(*sys.argv[1:3]))
    except RuntimeError as problem:
        print(str(problem).replace("\n", " "), file=sys.stderr)  # noqa: T201
        leave(1)
    leave(0)
