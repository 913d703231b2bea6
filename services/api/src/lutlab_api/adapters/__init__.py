"""Postgres and NATS behind the API's ports."""
