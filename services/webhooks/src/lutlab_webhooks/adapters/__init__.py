"""Postgres, HTTP and NATS behind the ports."""
