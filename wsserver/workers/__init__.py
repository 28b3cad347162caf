"""Several processes that serve one port: a supervisor, and what a worker knows of it (design section 8)."""
