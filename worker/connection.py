"""Which Temporal server a loop is on, and connecting to it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from beatctl.worker.run_folder import EMBEDDED

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.envconfig import ClientConnectConfig

CONNECT_LIMIT_S = 10.0


class ServerUnreachable(Exception):
    """No Temporal server answers; the text is one line for the user."""


class Connection(BaseModel):
    """A Temporal server and a namespace on it. Secrets are no part of it: they stay in the environment."""

    address: str
    namespace: str = "default"
    embedded: bool
    ui_url: str | None = None

    @property
    def label(self) -> str:
        return EMBEDDED if self.embedded else f"{self.address}/{self.namespace}"


def chosen(environ: Mapping[str, str]) -> Connection | None:
    """The shared server that TEMPORAL_ADDRESS names, with its namespace; None: beatctl's own, embedded server."""
    if not environ.get("TEMPORAL_ADDRESS"):
        return None
    found = _profile(environ)
    return Connection(address=found.get("target_host", ""), namespace=found.get("namespace", "default"), embedded=False)


async def connect(
    connection: Connection,
    *,
    lazy: bool = False,
    environ: Mapping[str, str] | None = None,
    identity: str | None = None,
) -> Client:
    """A client for the connection. TLS and API key of a shared server are read from `environ` as the temporal CLI does.
    `identity`: how it calls itself to the server.

    Raises ServerUnreachable.
    """
    from temporalio.client import Client
    from temporalio.service import RPCError

    from beatctl.worker.data_converter import data_converter

    shared = {} if connection.embedded else _profile(os.environ if environ is None else environ)
    settings: ClientConnectConfig = {**shared, "target_host": connection.address, "namespace": connection.namespace}
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            return await Client.connect(**settings, lazy=lazy, data_converter=data_converter, identity=identity)
    except (RuntimeError, RPCError, OSError, ValueError) as problem:  # OSError: TimeoutError too
        hint = "Run beatctl doctor." if connection.embedded else "Check TEMPORAL_ADDRESS and the network."
        raise ServerUnreachable(
            f"No Temporal server answers at {connection.address}: {_reason(problem)}. {hint}"
        ) from problem


async def check(connection: Connection, environ: Mapping[str, str]) -> None:
    """Whether the server answers, lets us in and has the namespace. Raises ServerUnreachable."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.service import RPCError, RPCStatusCode

    client = await connect(connection, environ=environ)
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=connection.namespace))
    except RPCError as problem:
        if problem.status == RPCStatusCode.NOT_FOUND:
            raise ServerUnreachable(
                f"The Temporal server at {connection.address} has no namespace {connection.namespace!r}. "
                "Create it, or set TEMPORAL_NAMESPACE."
            ) from problem
        if problem.status == RPCStatusCode.UNAUTHENTICATED:
            raise ServerUnreachable(
                f"The Temporal server at {connection.address} does not let us in: {problem.message}. "
                "Check TEMPORAL_API_KEY or the TLS certificate."
            ) from problem
        # Other refusals (describing a namespace may be denied where running workflows is not) show themselves later.


def _profile(environ: Mapping[str, str]) -> ClientConnectConfig:
    from temporalio.envconfig import ClientConfigProfile

    return ClientConfigProfile.load(override_env_vars=dict(environ)).to_client_connect_config()


def _reason(problem: Exception) -> str:
    """The SDK's nested error in a few words."""
    text = str(problem)
    if isinstance(problem, TimeoutError):
        return f"nothing within {CONNECT_LIMIT_S:.0f} s"
    message = re.search(r'(?:message|error): "([^"]+)"', text)
    return (message[1] if message else text).replace("\n", " ")[:200]


def workflow_id(loop: str) -> str:
    """The id of a loop's workflow."""
    return f"beatctl-{loop}"
