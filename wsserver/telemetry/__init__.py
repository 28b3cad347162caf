"""What the server says of itself: logs, metrics, clocks, and what stood still."""
