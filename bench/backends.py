"""The servers that rules ask: nginx, unbound and redis-server from Debian, and two small ones of our own; each counts.

`python -m bench.backends` is the two small ones, in a process of their own: a web server that takes 20 ms for an answer, and
one that answers a line with a line and 100 bytes.
"""

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import gevent.socket

from bench.load import exchange
from bench.peers import found
from tests.support.partners import free_port, running

__all__ = ["Backends", "running_backends"]

DELAY = 0.020
"""Seconds that the slow web server takes."""

NGINX = """\
daemon off;
worker_processes 1;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_timeout 600;
  keepalive_requests 100000000;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  scgi_temp_path FOLDER/scgi;
  uwsgi_temp_path FOLDER/uwsgi;
  server {
    listen 127.0.0.1:PORT backlog=4096;
    location = /status { stub_status; }
    location / { return 200 "fine"; }
  }
}
"""

UNBOUND = """\
server:
  directory: "FOLDER"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  extended-statistics: yes
  incoming-num-tcp: 256
  so-rcvbuf: 4m
  so-sndbuf: 4m
  access-control: 0.0.0.0/0 allow
  INTERFACES
  local-zone: "bench.test." redirect
  local-data: "bench.test. 3600 A 127.0.0.2"
remote-control:
  control-enable: yes
  control-use-cert: no
  control-interface: "FOLDER/control"
"""


@dataclass(frozen=True)
class Backends:
    """Where they listen. `outside` is an address of this machine that is not loopback's, None where it has none: filterd asks
    a resolver there by UDP, and one at loopback by TCP.
    """

    web: int
    slow: int
    tcp: int
    names: int
    redis: int
    outside: str | None
    folder: Path

    def counts(self) -> dict[str, int]:
        """What each has been asked since it was started, by what it is."""
        status = exchange(self.web, b"GET /status HTTP/1.0\r\n\r\n").decode()
        accepted, _, requests = map(int, re.findall(r"^ (\d+) (\d+) (\d+)", status, re.MULTILINE)[0])
        control = [found("unbound-control", "unbound"), "-c", str(self.folder / "unbound.conf"), "stats_noreset"]
        names = dict(
            line.split("=") for line in subprocess.run(control, check=True, capture_output=True, text=True).stdout.split()
        )
        redis = exchange(self.redis, b"INFO commandstats\r\nQUIT\r\n").decode()
        evaluated = re.search(r"cmdstat_eval:calls=(\d+)", redis)
        slow_connections, slow = map(int, exchange(self.slow, b"COUNT\n").split())
        tcp_connections, tcp = map(int, exchange(self.tcp, b"COUNT\n").split())
        return {
            "web": requests,
            "web connections": accepted,
            "slow": slow,
            "slow connections": slow_connections,
            "names": int(names["total.num.queries"]),
            "names by tcp": int(names["num.query.tcp"]),
            "redis": int(evaluated[1]) if evaluated else 0,
            "tcp": tcp,
            "tcp connections": tcp_connections,
        }


@contextmanager
def running_backends() -> Iterator[Backends]:
    """All of them, where this process may run."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        folder = Path(home)
        folder.chmod(0o755)
        outside = _outside()
        web, slow, tcp, names, redis = (free_port() for _ in range(5))
        interfaces = [f"interface: {address}@{names}" for address in ("127.0.0.1", outside) if address]

        def write(name: str, text: str) -> str:
            for word, value in {"FOLDER": home, "PORT": str(web), "INTERFACES": "\n  ".join(interfaces)}.items():
                text = text.replace(word, value)
            (folder / name).write_text(text)
            return str(folder / name)

        redis_options = ["--port", str(redis), "--bind", "127.0.0.1", "--dir", home, "--save", "", "--appendonly", "no"]
        for command, port in (
            ([found("nginx", "nginx-light"), "-e", f"{home}/error.log", "-p", home, "-c", write("nginx.conf", NGINX)], web),
            ([found("unbound", "unbound"), "-d", "-c", write("unbound.conf", UNBOUND)], names),
            ([found("redis-server", "redis-server"), *redis_options], redis),
            ([sys.executable, "-m", "bench.backends", str(slow), str(tcp)], tcp),
        ):
            stack.enter_context(running(command, ready=port, cwd=Path(__file__).parents[1]))
        yield Backends(web, slow, tcp, names, redis, outside, folder)


def _outside() -> str | None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("198.51.100.1", 9))  # nothing is sent
        except OSError:
            return None
        address = str(sock.getsockname()[0])
    return None if address.startswith("127.") else address


# -- the two small servers


class _Server:
    """Answers each request, which ends with `end`, with `reply()`; a line COUNT is answered with the connections and requests
    until then, this one not counted, and the end of the connection.
    """

    def __init__(self, port: int, end: bytes, reply: Callable[[], bytes]) -> None:
        self.end = end
        self.reply = reply
        self.connections = self.requests = 0
        self.sock = gevent.socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(4096)

    def run(self) -> None:
        while True:
            sock, _ = self.sock.accept()
            gevent.spawn(self._serve, sock)

    def _serve(self, sock: Any) -> None:
        is_counted = False
        with sock:
            try:
                data = b""
                while piece := sock.recv(65536):
                    data += piece
                    if data == b"COUNT\n":
                        sock.sendall(b"%d %d\n" % (self.connections, self.requests))
                        return
                    while self.end in data:
                        _, _, data = data.partition(self.end)
                        self.connections += not is_counted
                        is_counted = True
                        self.requests += 1
                        sock.sendall(self.reply())
            except OSError:
                pass  # the client has gone


def _slow() -> bytes:
    gevent.sleep(DELAY)
    # Rspamd keeps a connection only where the server says that it does.
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nfine"


def _answer() -> bytes:
    return b"100\n" + b"x" * 99 + b"\n"


def main() -> None:
    slow, tcp = map(int, sys.argv[1:])
    servers = [_Server(slow, b"\r\n\r\n", _slow), _Server(tcp, b"\n", _answer)]
    gevent.joinall([gevent.spawn(server.run) for server in servers], raise_error=True)


if __name__ == "__main__":
    main()
