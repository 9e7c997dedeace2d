"""Wire protocols as pure state machines: bytes in, events out; events in, bytes out."""
