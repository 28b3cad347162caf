"""A client of the operations port's HTTP API: for backends, workers and cron jobs, and for wsctl's own commands."""
