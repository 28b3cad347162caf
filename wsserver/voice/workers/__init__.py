"""Worker processes: native speech libraries hold the interpreter's lock, so they run outside the server's process."""
