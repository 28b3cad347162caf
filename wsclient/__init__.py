"""The client library and its scriptable twin."""
