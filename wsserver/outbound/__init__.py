"""What waits for peers that read slowly: shared, counted in bytes, and bounded."""
