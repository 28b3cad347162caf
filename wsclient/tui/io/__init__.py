"""Where the terminal client meets the world: the connection, files, the editor, sound."""
