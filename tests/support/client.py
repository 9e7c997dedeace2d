"""A client that sends bytes and reads bytes, from a greenlet of the test."""

from types import TracebackType

from gevent import socket as gsocket

__all__ = ["Client"]


class Client:
    """One connection to a loopback server, 10 s for each step."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        if isinstance(address, str):
            self.sock = gsocket.socket(gsocket.AF_UNIX)
            self.sock.settimeout(10)
            self.sock.connect(address)
        else:
            self.sock = gsocket.create_connection(address, timeout=10)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.sock.close()

    def send(self, data: bytes) -> "Client":
        self.sock.sendall(data)
        return self

    def end(self) -> "Client":
        """Half-close."""
        self.sock.shutdown(gsocket.SHUT_WR)
        return self

    def read_all(self) -> bytes:
        """Everything until the server closes."""
        pieces = []
        while piece := self.sock.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)

    def read_reply(self) -> tuple[int, dict[str, str], bytes]:
        """One reply framed by Content-Length: status, headers in lower case, body."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            assert piece, f"closed after {data!r}"
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        while len(body) < length:
            piece = self.sock.recv(65536)
            assert piece, "closed in the body"
            body += piece
        assert len(body) == length
        return int(first.split()[1]), headers, body

    @property
    def is_closed(self) -> bool:
        """The server has closed, or does so now."""
        return self.sock.recv(1) == b""
