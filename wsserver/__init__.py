"""The server: engines, sessions, fan-out and heartbeats."""
