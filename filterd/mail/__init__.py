"""Messages, envelopes and verdicts as pure values: nothing here opens a socket, waits or reads the clock."""
