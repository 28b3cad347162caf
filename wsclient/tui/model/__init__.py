"""What the terminal client shows, without a widget: the ring of messages, filters, health, history."""
