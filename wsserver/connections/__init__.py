"""State of connections and groups, what goes out to them and what waits for their handlers."""
