"""The ledger's tables in Postgres, and their migrations. The scheduler writes; the API reads."""
