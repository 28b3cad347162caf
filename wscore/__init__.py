"""The shared core: protocol, tokens and rules as pure code, without sockets, clock or event loop."""
