"""`wsctl top`: a live view of a running server or cluster, read from its operations port."""
