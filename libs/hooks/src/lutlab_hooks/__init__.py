"""What the API and the delivery of webhooks must agree on: secrets, signatures, and which addresses may be called."""
