"""The process that drives the load: Locust as a library, and the WebSocket traffic on an event loop beside it."""
