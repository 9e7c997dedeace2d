"""Everything one worker shares to reach other services; built once, handed down, closed at the end."""

__all__ = ["Network"]


class Network:
    """The clients of one worker."""

    def close(self) -> None:
        """Close every connection."""
