"""The delivery of webhooks, over ports."""
