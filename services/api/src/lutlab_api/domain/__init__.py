"""Pure rules of the API: errors, uploads, transactions, what the public sees of boards and jobs."""
