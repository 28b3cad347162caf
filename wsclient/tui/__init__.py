"""The Textual client: what goes over the wire, shown to a person."""
