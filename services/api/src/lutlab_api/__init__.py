"""The HTTP and WebSocket door: reads the ledger's views, sends commands to the scheduler, keeps no state of its own."""
