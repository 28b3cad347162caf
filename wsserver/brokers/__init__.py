"""How what a group gets reaches every process that has members of it."""
