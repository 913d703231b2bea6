"""NATS as lutlab uses it: connecting, streams, blobs, commands with answers; and the edge's clock and ids."""
