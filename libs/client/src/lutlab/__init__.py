"""The Python client of a lutlab lab, and the `lutlab` command.

```python
from pathlib import Path
from lutlab import Client

with Client() as lab:
    job = lab.wait(lab.submit(Path("design.py")).job_id)
    lab.write(job.fpga_id, 0x0, [1, 2, 3])
    print(lab.read(job.fpga_id, 0x0, 3))
    lab.release(job.fpga_id)
```
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
