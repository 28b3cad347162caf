"""What tells a backend over HTTP what happens here, and asks it who may connect (docs/webhooks.md)."""
