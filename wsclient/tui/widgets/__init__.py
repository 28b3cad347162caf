"""The areas of the terminal client's screens, one file each."""
