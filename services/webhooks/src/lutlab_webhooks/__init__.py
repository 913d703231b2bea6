"""`lutlab-webhooks`: delivers what happened to subscribers, driven by the log and by its own stored positions."""
