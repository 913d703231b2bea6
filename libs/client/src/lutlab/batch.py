"""A batch of bus operations: what `Client.run_batch` carries out in one bus round.

```python
batch = Batch().write(0x10, [1, 2, 3]).modify(0x00, 1, mask=1).poll(0x04, 1, mask=1, timeout_cycles=5000).read(0x20, 8)
print(lab.run_batch(board, batch)[-1].data)
```
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, SupportsIndex

from lutlab.words import checked

OP_WRITE, OP_READ, OP_MODIFY, OP_POLL = 1, 2, 3, 4
WORD_MASK = 0xFFFF_FFFF


class Batch:
    """Operations in the order in which they will run; each call adds one and returns the batch.

    Addresses are byte addresses, multiples of 4.

    Attributes:
        ops: what was added, as `POST /fpga/{id}/run` takes it.
    """

    def __init__(self) -> None:
        self.ops: list[dict[str, Any]] = []

    def write(self, address: int, words: Iterable[SupportsIndex], *, fixed_address: bool = False) -> Self:
        """Write words from an address on, or all to it with `fixed_address`."""
        return self._add(op=OP_WRITE, address=address, data=checked(words), fixed_address=fixed_address)

    def read(self, address: int, count: int = 1, *, fixed_address: bool = False) -> Self:
        """Read words from an address on, or all from it with `fixed_address`."""
        return self._add(op=OP_READ, address=address, count=count, fixed_address=fixed_address)

    def modify(self, address: int, value: int, *, mask: int = WORD_MASK) -> Self:
        """Replace the bits of `mask` by those of `value`; its result is the word before."""
        return self._add(op=OP_MODIFY, address=address, mask=mask, value=value)

    def poll(self, address: int, value: int, *, mask: int = WORD_MASK, timeout_cycles: int) -> Self:
        """Read on the board until the bits of `mask` are those of `value`, for so many clock cycles at most."""
        return self._add(op=OP_POLL, address=address, mask=mask, value=value, timeout_cycles=timeout_cycles)

    def _add(self, **op: Any) -> Self:
        self.ops.append(op)
        return self
