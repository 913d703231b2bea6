"""What a run is asked with: one transaction as the contract has it, or a batch."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body
from pydantic import ConfigDict, Discriminator, FailFast, Field, Tag

from lutlab_api.app.run import BatchRequest, RunRequest
from lutlab_api.domain.batch import StepRequest
from lutlab_api.web.models import Model, StrictInt, Words
from lutlab_api.web.paging import Strict

ONE_FORM, BATCH_FORM = "transaction", "batch"


class RunBody(Model):
    """A Wishbone transaction."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {"op": 1, "address": 0, "data": [42]},
                {"op": 2, "address": 0, "count": 4},
                {"op": 1, "address": 16, "data": [1, 2, 3], "fixed_address": True},
            ]
        },
    )

    op: StrictInt = Field(description="1 write, 2 read")
    address: StrictInt = Field(description="byte address, a multiple of 4")
    data: Words = Field(default_factory=list, description="words to write, 0 to 4294967295 each")
    count: StrictInt | None = Field(None, description="words to read; one if left out. A write has as many as `data`")
    fixed_address: bool = Field(False, description="write every word to the same address, as for a FIFO's port")

    def wanted(self) -> RunRequest:
        """For the use case."""
        return RunRequest(
            op=self.op, address=self.address, data=self.data, count=self.count, fixed_address=self.fixed_address
        )


class StepBody(Strict):
    """One operation of a batch."""

    op: StrictInt = Field(description="1 write, 2 read, 3 modify, 4 poll")
    address: StrictInt = Field(description="byte address, a multiple of 4")
    data: Words = Field(default_factory=list, description="words to write, 0 to 4294967295 each")
    count: StrictInt | None = Field(None, description="words to read; one if left out")
    fixed_address: bool = Field(False, description="read or write every word at the same address, as for a FIFO's port")
    mask: StrictInt | None = Field(None, description="of a modify or poll: the bits it is about; all if left out")
    value: StrictInt | None = Field(None, description="of a modify: what the bits become; of a poll: what to wait for")
    timeout_cycles: StrictInt | None = Field(None, description="of a poll: clock cycles of the design to wait at most")


class BatchBody(Strict):
    """Several operations, carried out in their order in one bus round. A failed one does not stop those behind it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ops": [
                        {"op": 1, "address": 16, "data": [1, 2, 3]},
                        {"op": 3, "address": 0, "mask": 1, "value": 1},
                        {"op": 4, "address": 4, "mask": 1, "value": 1, "timeout_cycles": 5000},
                        {"op": 2, "address": 32, "count": 8},
                    ]
                }
            ]
        },
    )

    ops: Annotated[list[StepBody], FailFast()] = Field(
        description="1 to 256 operations; 2,048 words and 20,000,000 cycles of polling in all"
    )

    def wanted(self) -> BatchRequest:
        """For the use case."""
        return BatchRequest(ops=tuple(StepRequest(**step.model_dump()) for step in self.ops))


class RunBodyV1(RunBody, Strict):
    """A Wishbone transaction."""


def form_of(body: Any) -> str:
    """Which of the two forms a body has; only the batch has `ops`."""
    return BATCH_FORM if isinstance(body, BatchBody) or (isinstance(body, dict) and "ops" in body) else ONE_FORM


_Batch = Annotated[BatchBody, Tag(BATCH_FORM)]
RunOrBatch = Annotated[Annotated[RunBody, Tag(ONE_FORM)] | _Batch, Discriminator(form_of), Body()]
RunOrBatchV1 = Annotated[Annotated[RunBodyV1, Tag(ONE_FORM)] | _Batch, Discriminator(form_of), Body()]
