"""The voice app: speech in, transcript, answer and speech out, on the server's SDK (design section 9)."""
