"""Making a shared Temporal server ready for loops: its namespace and search attributes. What is there is left as it is.

`setup-cluster` calls it. Each step tells what it did, what was there, or what it lacks the right to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from beatctl.worker.connection import ServerUnreachable
from beatctl.worker.embedded_server import SEARCH_ATTRIBUTES

SERVED_S = 90.0
"""Until every part of the server has heard of a new namespace or attribute: tens of seconds, as servers come."""
_REFUSED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.UNAUTHENTICATED)
_NOT_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.UNAVAILABLE)
_KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


@dataclass(frozen=True)
class Step:
    """One thing a loop needs of the server."""

    what: str
    state: Literal["made", "there", "would-make", "lacking"]
    about: str = ""
    command: str | None = None
    """For an administrator to type, where we may not."""


async def set_up(client: Client, retention: timedelta, *, dry_run: bool) -> list[Step]:
    """Make what is missing; with `dry_run` only look. Raises ServerUnreachable, and RPCError where the server fails."""
    namespace = await _namespace(client, retention, dry_run=dry_run)
    if namespace.state == "would-make":
        return [namespace, *(Step(_attribute(name), "would-make") for name in SEARCH_ATTRIBUTES)]
    if namespace.state == "lacking":
        commands = {name: _attribute_command(client, name) for name in SEARCH_ATTRIBUTES}
        after = "comes after the namespace"
        return [namespace, *(Step(_attribute(name), "lacking", after, line) for name, line in commands.items())]
    return [namespace, *await _search_attributes(client, dry_run=dry_run)]


async def _namespace(client: Client, retention: timedelta, *, dry_run: bool) -> Step:
    what, days = f"namespace {client.namespace}", f"closed loops kept {_days(retention)}"
    try:
        found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status in _REFUSED:
            # It may be used by many who may not describe it.
            if await _is_served(client, []):
                return Step(what, "there", "may not be described")
            return Step(what, "lacking", _why(error), _namespace_command(client, retention))
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
    else:
        kept = found.config.workflow_execution_retention_ttl.ToTimedelta()
        return Step(what, "there", f"closed loops kept {_days(kept)}")
    if dry_run:
        return Step(what, "would-make", days)
    lasting = Duration()
    lasting.FromTimedelta(retention)
    try:
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=client.namespace, workflow_execution_retention_period=lasting)
        )
    except RPCError as refusal:
        if refusal.status in _REFUSED:
            return Step(what, "lacking", _why(refusal), _namespace_command(client, retention))
        if refusal.status != RPCStatusCode.ALREADY_EXISTS:  # somebody else was quicker
            raise
    await _until_served(client, [])
    return Step(what, "made", days)


async def _search_attributes(client: Client, *, dry_run: bool) -> list[Step]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        there = dict((await client.operator_service.list_search_attributes(request)).custom_attributes)
    except RPCError as error:
        if error.status not in _REFUSED:
            raise
        # Which there are may not be listed; whether they can be searched by shows itself.
        if await _is_served(client, SEARCH_ATTRIBUTES):
            return [Step(_attribute(name), "there") for name in SEARCH_ATTRIBUTES]
        return [_lacking(client, name, error) for name in SEARCH_ATTRIBUTES]
    missing = [name for name in SEARCH_ATTRIBUTES if name not in there]
    refusal: RPCError | None = None
    if missing and not dry_run:
        try:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=client.namespace, search_attributes=dict.fromkeys(missing, _KEYWORD)
                )
            )
        except RPCError as error:
            if error.status not in _REFUSED:
                raise
            refusal = error
        else:
            await _until_served(client, SEARCH_ATTRIBUTES)

    def step(name: str) -> Step:
        if name in there and there[name] != _KEYWORD:
            kind = IndexedValueType.Name(there[name]).removeprefix("INDEXED_VALUE_TYPE_").capitalize()
            return Step(_attribute(name), "lacking", f"is of type {kind}, and must be Keyword: remove it first")
        if name in there:
            return Step(_attribute(name), "there")
        if refusal is not None:
            return _lacking(client, name, refusal)
        return Step(_attribute(name), "would-make" if dry_run else "made")

    return [step(name) for name in SEARCH_ATTRIBUTES]


async def _until_served(client: Client, attributes: Sequence[str]) -> None:
    end = time.monotonic() + SERVED_S
    while not await _is_served(client, attributes):
        if time.monotonic() > end:
            raise ServerUnreachable(
                f"Namespace {client.namespace} or its search attributes are made, but not served after "
                f"{SERVED_S:.0f} s. Type the same again in a minute."
            )
        await asyncio.sleep(0.5)


async def _is_served(client: Client, attributes: Sequence[str]) -> bool:
    """Whether loops can be looked for in the namespace by all of these."""
    query = " or ".join(f"{name} = 'none'" for name in attributes)
    try:
        await client.workflow_service.count_workflow_executions(
            CountWorkflowExecutionsRequest(namespace=client.namespace, query=query)
        )
    except RPCError as error:
        if error.status in (*_REFUSED, *_NOT_YET):
            return False
        raise
    return True


def _lacking(client: Client, name: str, error: RPCError) -> Step:
    return Step(_attribute(name), "lacking", _why(error), _attribute_command(client, name))


def _attribute(name: str) -> str:
    return f"search attribute {name}"


def _why(error: RPCError) -> str:
    words = " ".join(error.message.split()) or error.status.name.lower().replace("_", " ")
    return f"we may not: {words.rstrip('.')}"


def is_cloud(client: Client) -> bool:
    host = client.service_client.config.target_host.partition(":")[0]
    return host.endswith((".tmprl.cloud", ".api.temporal.io"))


def _namespace_command(client: Client, retention: timedelta) -> str:
    days = max(1, round(retention / timedelta(days=1)))
    if is_cloud(client):
        name = client.namespace.partition(".")[0]
        return f"tcld namespace create --namespace {name} --region REGION --retention-days {days}"
    return f"temporal operator namespace create --retention {days}d --namespace {client.namespace}"


def _attribute_command(client: Client, name: str) -> str:
    if is_cloud(client):
        return f"tcld namespace search-attributes add --namespace {client.namespace} --search-attribute {name}=Keyword"
    return f"temporal operator search-attribute create --namespace {client.namespace} --name {name} --type Keyword"


def _days(length: timedelta) -> str:
    days = length / timedelta(days=1)
    return f"{days:g} days" if days != 1 else "1 day"
