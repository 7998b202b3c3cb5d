"""Which Temporal server a loop is on, and connecting to it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from beatctl.activities.home import Home
from beatctl.worker import payload_key, profile
from beatctl.worker.run_folder import EMBEDDED, RunFolder

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.converter import DataConverter
    from temporalio.envconfig import ClientConnectConfig

CONNECT_LIMIT_S = 10.0
_BROKEN_OFF = ("transport error", "operation was canceled")
"""What the SDK says of a server that speaks, or wants, another TLS."""


class ServerUnreachable(Exception):
    """No Temporal server answers; the text is one line for the user."""


class Connection(BaseModel):
    """A Temporal server and a namespace on it. Secrets are no part of it: they stay in the environment."""

    address: str
    namespace: str = "default"
    embedded: bool
    ui_url: str | None = None
    profile: str | None = None
    tls: bool = False

    @property
    def label(self) -> str:
        return EMBEDDED if self.embedded else f"{self.address}/{self.namespace}"


def chosen(environ: Mapping[str, str]) -> Connection | None:
    """The shared server that BEATCTL_PROFILE or TEMPORAL_ADDRESS names, with its namespace; None: beatctl's own,
    embedded server. Raises BadProfile."""
    if not profile.leads_elsewhere(environ):
        return None
    found = profile.settings(environ)
    if "target_host" not in found:
        raise profile.without_address(environ)
    return Connection(
        address=found["target_host"],
        namespace=found.get("namespace", "default"),
        embedded=False,
        profile=profile.name_of(environ),
        tls=bool(found.get("tls")),
    )


async def connect(
    connection: Connection,
    *,
    lazy: bool = False,
    environ: Mapping[str, str] | None = None,
    identity: str | None = None,
) -> Client:
    """A client for the connection. TLS, API key and payload keys of a shared server are read from `environ`, the first
    two as the temporal CLI does. `identity`: how it calls itself to the server.

    Raises ServerUnreachable, BadProfile, BadPayloadKey.
    """
    from temporalio.client import Client
    from temporalio.service import RPCError

    environ = os.environ if environ is None else environ
    shared: ClientConnectConfig = {} if connection.embedded else profile.settings(environ)
    settings: ClientConnectConfig = {**shared, "target_host": connection.address, "namespace": connection.namespace}
    converter = _converter(connection, environ)
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            return await Client.connect(**settings, lazy=lazy, data_converter=converter, identity=identity)
    except (RuntimeError, RPCError, OSError, ValueError) as problem:  # OSError: TimeoutError too
        hint = "Run beatctl doctor." if connection.embedded else f"Check {profile.words(environ)} and the network."
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
                "beatctl setup-cluster creates it; TEMPORAL_NAMESPACE, or a profile's namespace, names another."
            ) from problem
        if problem.status == RPCStatusCode.UNAUTHENTICATED:
            raise ServerUnreachable(
                f"The Temporal server at {connection.address} does not let us in: {problem.message}. "
                "Check TEMPORAL_API_KEY or the TLS certificate."
            ) from problem
        # Other refusals (describing a namespace may be denied where running workflows is not) show themselves later.


def _converter(connection: Connection, environ: Mapping[str, str]) -> DataConverter:
    """On beatctl's own server nothing is encrypted: its database lies beside the ledger, which holds the same. Raises
    BadPayloadKey, also where this home has encrypted on the server and no key is given now."""
    from beatctl.worker.data_converter import data_converter

    if connection.embedded:
        return data_converter
    from beatctl.worker import remembered
    from beatctl.worker.codec import with_codec

    keys = payload_key.keys(environ)
    remembered.check_key(RunFolder(Home.locate(environ).root, connection.label), keys)
    return with_codec(data_converter, keys)


def _reason(problem: Exception) -> str:
    """The SDK's nested error in a few words."""
    text = str(problem)
    if isinstance(problem, TimeoutError):
        return f"nothing within {CONNECT_LIMIT_S:.0f} s"
    message = re.search(r'(?:message|error): "([^"]+)"', text)
    reason = (message[1] if message else text).replace("\n", " ")[:200]
    return f"{reason} (does it want TLS, or another certificate?)" if reason in _BROKEN_OFF else reason


def workflow_id(loop: str) -> str:
    """The id of a loop's workflow."""
    return f"beatctl-{loop}"
