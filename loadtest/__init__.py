"""The load tester: heartbeat and broadcast tests with a verdict."""
