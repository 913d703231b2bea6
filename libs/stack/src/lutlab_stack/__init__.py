"""Run the whole lab on one machine: embedded Postgres and NATS, a process supervisor, and what `lutlab up` starts."""
