"""Program one board once, in a process of its own, and print what that took as JSON.

It is measured from the moment the last byte of the bitstream is in the chip until the design runs: reading the stream
with its CRCs, decoding, the netlist, C, the compiler, loading. The chip database is on disk in its compact form.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
from pathlib import Path

import structlog

import lutlab_profiles
from lutlab_virtual_board import trellis
from lutlab_virtual_board.chip import Chip


def processor_s() -> float:
    """Processor time of this process and of the compilers it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def resident_mib() -> float:
    """Memory that this process takes now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def main() -> None:
    profile, cache, stream = lutlab_profiles.get(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]).read_bytes()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    trellis.load(profile.device, cache)
    chip = Chip(profile, cache, "tcc")
    began, used = time.perf_counter(), processor_s()
    chip.configure(stream)
    chip.start()
    assert chip.fabric is not None
    took = {"wall_s": time.perf_counter() - began, "cpu_s": processor_s() - used}
    took["peak_mib"], took["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, resident_mib()
    chip.close()
    print(json.dumps(took))


if __name__ == "__main__":
    main()
