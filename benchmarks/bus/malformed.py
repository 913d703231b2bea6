"""A million malformed frames into the engine: every one is counted, none changes anything.

Half are noise, half are good replies with a few bits, bytes or pieces changed. Exit status 1 if one was accepted.
"""

from __future__ import annotations

import argparse
import sys
import time
from random import Random

from lutlab_bus import LinkCounters, Read
from lutlab_bus.engine import Engine
from lutlab_bus.fake import FakeBridge
from lutlab_bus.jobs import job_of

FRAMES = 1_000_000


class _Waiting:
    open = True


def spoil(good: bytes, rng: Random) -> bytes:
    """A malformed frame, with its delimiter."""
    junk = bytearray(good if rng.random() < 0.5 else rng.randbytes(rng.randrange(1, 60)))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(junk))
        kind = rng.randrange(3)
        if kind == 0:
            junk[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and len(junk) > 1:
            del junk[at]
        else:
            junk.insert(at, rng.randrange(256))
    return bytes(junk) + b"\0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = Random(options.seed)
    engine, bridge = Engine(LinkCounters(), rng.getrandbits), FakeBridge()
    jobs = [job_of(_Waiting(), 0, Read(1)), job_of(_Waiting(), 1, Read(2, 30))]
    for job in jobs:
        engine.submit(job)
    engine.receive(bridge.feed(engine.poll(0.0)), 0.0)
    good = bridge.feed(engine.poll(0.0))
    accepted, started_s = 0, time.monotonic()
    for _ in range(options.frames):
        junk = spoil(good.rstrip(b"\0"), rng)
        if good not in b"\0" + junk:
            accepted += len(engine.receive(junk, 0.0))
    whole = engine.receive(good, 0.0) == jobs
    counters = engine.counters
    print(f"{options.frames:,} malformed frames in {time.monotonic() - started_s:.0f} s: {accepted} accepted, "
          f"{counters.crc_failures:,} damaged, {counters.stale:,} stale, {counters.protocol_faults:,} impossible; "
          f"the good one {'was' if whole else 'WAS NOT'} accepted afterwards")  # fmt: skip
    return 0 if whole and not accepted else 1


if __name__ == "__main__":
    sys.exit(main())
