"""The voice app's backends: each implements one stage, and only it imports the package that it needs."""
