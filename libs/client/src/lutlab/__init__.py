"""The Python client of a lutlab lab, and the `lutlab` command.

```python
from lutlab import Client

with Client() as lab, lab.running(lab.submit("design.py")) as board:
    board.write(0x0, [1, 2, 3])
    print(board.read(0x0, 3))
```

docs/python.md has the rest.
"""

from lutlab.batch import Batch
from lutlab.client import Client
from lutlab.errors import JobFailed, LutlabError, NotConfigured, Refused, StreamFailed, TimedOut, Unreachable
from lutlab.stream import BoardStream

__all__ = [
    "Batch",
    "BoardStream",
    "Client",
    "JobFailed",
    "LutlabError",
    "NotConfigured",
    "Refused",
    "StreamFailed",
    "TimedOut",
    "Unreachable",
]
