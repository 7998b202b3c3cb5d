"""What beatctl needs of a Temporal server: search attributes and, on its own server, a longer memory."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client

from beatctl.worker.embedded_server import SEARCH_ATTRIBUTES

RETENTION = timedelta(days=90)
"""The dev server comes with one day: closed runs of last night's chain would be gone by the next."""


async def keep_for_long(client: Client) -> None:
    """Set the namespace's retention. For the embedded server only: a shared one is its operators' affair."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() == RETENTION:
        return
    wanted = Duration()
    wanted.FromTimedelta(RETENTION)
    config = NamespaceConfig(workflow_execution_retention_ttl=wanted)
    await client.workflow_service.update_namespace(UpdateNamespaceRequest(namespace=client.namespace, config=config))


async def add_search_attributes(client: Client) -> None:
    """Add what is missing, so that loops can be found by state, outcome, agent, folder and strategy."""
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = {name: keyword for name in SEARCH_ATTRIBUTES if name not in listed.custom_attributes}
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )


async def check(client: Client) -> None:
    """Raises RPCError while the server can't serve the namespace yet."""
    await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
