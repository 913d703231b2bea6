"""Local synthesis and place-and-route under the name that the reference SDK's `synth` and `pnr` look for.

Where this package can be imported, `mrg synth` and `mrg pnr` call `build(...)` in their own process instead of running
a Docker image. The work is done by lutlab's builder, in its sandbox, with its gateware around the design; so the
numbers are those of a whole bitstream (`scope: soc`), as the lab itself would build it.

| environment variable | effect |
|---|---|
| `LUTLAB_PROFILE` | the device profile to build for, instead of the lab's default |
| `LUTLAB_CACHE_DIR`, `LUTLAB_BUILDER_...` | as for the builder |
"""

from mrg_build.building import Report, build

__all__ = ["Report", "build"]
