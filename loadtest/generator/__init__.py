"""One process that makes load: connections, what they send and when, and what was measured; knows no Locust."""
