"""The ports of `lutlab_scheduler.app` on Postgres, NATS and, for tests, on memory."""
