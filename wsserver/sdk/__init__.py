"""What an app works with: App, Context, Hub, and what becomes of its exceptions."""
