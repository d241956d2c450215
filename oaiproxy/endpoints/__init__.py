"""The front doors: each parses its own requests into a canonical call and encodes events as its own answers."""
