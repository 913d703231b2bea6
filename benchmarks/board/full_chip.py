"""A design that fills a chip: a long ring of small processing elements that add, rotate, choose and mix.

Every element depends on its neighbours, so that placement and routing are as local as those of a large real design, and
every one of them reaches the pins, so that nothing may be left out. `make full-chip` builds it, once for all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from hashlib import sha256
from pathlib import Path

from vb_toolchain import Build, build

PROFILE = "lfe5um5g-85f"
TOP = "full_chip"
LUTS_OF_85F = 83_640
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lutlab-bench-board"
"""Where it is kept."""

_REPORT_S = 30.0
_STEPS = (("config", "packing"), ("json", "placing and routing, which takes a quarter of an hour"))
"""The last file that there is, and what goes on then."""

ELEMENTS = 525
"""Elements of the ring; each takes 128 LUTs, half of them in carry cells, and 64 registers: four fifths of the chip."""

_ELEMENT = """
module element(input clk, input enable, input [31:0] left, input [31:0] right, input [31:0] seed,
               output reg [31:0] here);
  reg [31:0] kept;
  initial begin here = 0; kept = 0; end
  wire [31:0] sum = kept + {right[24:0], right[31:25]};
  wire [31:0] mixed = (left & sum) ^ (~left & here) ^ {kept[10:0], kept[31:11]};
  always @(posedge clk) if (enable) begin
    here <= mixed + seed;
    kept <= sum ^ (here | left);
  end
endmodule
"""

_CHIP = """
module {top}(input clk, input rx, output tx, output [3:0] leds);
  wire [31:0] ring [0:{count}];
  reg [2:0] sampled = 7;
  always @(posedge clk) sampled <= {{sampled[1:0], rx}};
  wire enable = sampled[2] ^ sampled[1];
  assign ring[0] = ring[{count}] ^ {{31'b0, sampled[2]}};
{elements}
  assign tx = ^ring[{count}];
  assign leds = ring[{half}][3:0];
endmodule
"""


def source(elements: int = ELEMENTS) -> str:
    """The Verilog of a ring of so many elements."""
    lines = [
        f"  element e{n}(clk, enable, ring[{n}], ring[{min(n + 2, elements)}], 32'd{0x9E3779B9 * (n + 1) % (1 << 32)}, "
        f"ring[{n + 1}]);"
        for n in range(elements)
    ]
    return _ELEMENT + _CHIP.format(top=TOP, count=elements, half=elements // 2, elements="\n".join(lines))


def _result(cache: Path, text: str) -> Build:
    return Build(cache / f"{TOP}-{sha256(text.encode()).hexdigest()[:12]}", TOP)


def is_built(cache: Path) -> bool:
    """Whether the bitstream is in a folder."""
    return _result(cache, source()).bit.is_file()


def built(cache: Path) -> Build:
    """The design's bitstream for the largest chip, which takes very long to build and is kept in a folder."""
    text = source()
    result = _result(cache, text)
    if not result.bit.is_file():
        shutil.rmtree(result.folder, ignore_errors=True)
        result.folder.mkdir(parents=True)
        path = result.folder / "full_chip.v"
        path.write_text(text)
        build(result.folder, TOP, [str(path)], PROFILE, pack_raw=False, timing=False)
    return result


def _step(result: Build) -> str:
    """What a build is at."""
    return next((what for suffix, what in _STEPS if result.path(suffix).is_file()), "synthesizing")


def main() -> None:
    """Build it unless that was done, and tell how it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where it is kept (default: %(default)s)")
    cache = parser.parse_args().cache
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(built, cache)
        while wait_for([building], _REPORT_S).not_done:
            print(f"{time.monotonic() - began:5.0f} s: {_step(_result(cache, source()))}", flush=True)
        result = building.result()
    print(f"{result.bit}: {used_luts(result)} of {LUTS_OF_85F} LUTs")


def used_luts(result: Build) -> int:
    """LUTs that nextpnr has placed, those of carry cells included."""
    config = result.path("config").read_text()
    return config.count(".K0.INIT") + config.count(".K1.INIT")


if __name__ == "__main__":
    main()
