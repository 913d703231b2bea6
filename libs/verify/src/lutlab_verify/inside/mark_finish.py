"""Make a compiled Icarus program say when it calls `$finish`, for which Icarus itself gives no sign.

usage: python -m lutlab_verify.inside.mark_finish FILE MARK
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_FINISH = re.compile(r'(?m)^(?P<call>\s*%vpi_call(?:/[a-z])? (?P<place>\d+ \d+)) "\$finish"')


def marked(program: str, mark: str) -> str:
    """The program with a line printed before each `$finish`."""
    return _FINISH.sub(
        lambda m: f'    %vpi_call/w {m["place"]} "$display", "{mark}" {{0 0 0}};\n{m[0].lstrip(chr(10))}', program
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(marked(path.read_text(encoding="latin-1"), sys.argv[2]), encoding="latin-1")
