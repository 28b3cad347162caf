"""The two WebSocket engines behind one port (design section 5, docs/adr/0002)."""
