"""Programs that run inside the sandbox: standard library, amaranth, pyosys, the wasm tools and the gateware only."""
