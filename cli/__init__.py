"""The Typer commands: the composition root, and the only place that prints or exits."""
