"""How inputs and results become JSON: the SDK's pydantic converter, made once.

The SDK makes a payload converter for each activation of a workflow, and a pydantic one begins each time without the
schemas it had worked out: a millisecond or more of each iteration.
"""

from __future__ import annotations

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter

_CONVERTERS = tuple(PydanticPayloadConverter().converters.values())


class _PayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


data_converter = DataConverter(payload_converter_class=_PayloadConverter)
"""For every client and worker of ours."""
