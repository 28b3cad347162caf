"""A connection from its opening to its end, and the end of the server."""
