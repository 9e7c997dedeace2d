"""docs/migrating.md taken apart into rows, and the servers its lines of code speak to."""

import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent

from filterd.net.upstream import Upstreams
from tests.support.certificates import Certificates
from tests.support.http_server import Asked, HttpPeer, answer, http_serving
from tests.support.peers import LOOPBACK, dead_port, serving, serving_udp

__all__ = ["FAKE_DNS", "Row", "Services", "read_rows", "services"]

_CELLS = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`[^`]+`(?:<br>`[^`]+`)*")
_SPAN = re.compile(r"`([^`]+)`")

FAKE_DNS = "".join(
    f'[[dns.fake_records]]\nname = "{name}"\ntype = "{kind}"\nrcode = "{rcode}"\nreplies = {replies}\n'
    for name, kind, replies, rcode in [
        ("example.com", "a", ["93.184.216.34"], "noerror"),
        ("example.com", "aaaa", ["2001:db8::1"], "noerror"),
        ("192.0.2.1", "ptr", ["mx.example.com"], "noerror"),
        ("example.com", "txt", ["v=spf1 -all"], "noerror"),
        ("example.com", "mx", ["20 backup.example.com", "10 mx.example.com"], "noerror"),
        ("example.com", "ns", ["ns.example.com"], "noerror"),
        ("www.example.com", "cname", ["example.com"], "noerror"),
        ("example.com", "soa", ["ns.example.com admin.example.com 2026 3600 600 86400 300"], "noerror"),
        ("_imap._tcp.example.com", "srv", ["0 1 143 imap.example.com"], "noerror"),
        ("_25._tcp.mx.example.com", "tlsa", ["3 1 1 " + "ab" * 32], "noerror"),
        ("example.com", "any", ["a 93.184.216.34"], "noerror"),
        ("nobody.example.com", "a", [], "nxdomain"),
        ("empty.example.com", "a", [], "noerror"),
        ("77.2.0.192.bl.example.com", "a", ["127.0.0.2"], "noerror"),
        ("77.2.0.192.dul.example.com", "a", [], "nxdomain"),
    ]
)
"""The names that the page's lines ask for, as a configuration."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `section` is the heading it stands under, `old` what it is for, `toml` the code of its third cell.

    `code` are the lines of Python at the beginning of the second cell, `words` what follows; a row without code has a dash and
    the reason.
    """

    section: str
    old: str
    code: str
    words: str
    toml: str


def read_rows(page: Path) -> list[Row]:
    """The rows of all tables under the title, without those that say what the columns are."""
    rows: list[Row] = []
    section = ""
    is_head = True
    for line in page.read_text().splitlines():
        if line.startswith("##"):
            section = line.lstrip("#").strip()
        if not line.startswith("|"):
            is_head = True
        elif line.startswith("|---"):
            is_head = False
        elif section and not is_head:
            rows.append(_row(section, [cell.strip() for cell in _CELLS.split(line)[1:-1]]))
    return rows


def _row(section: str, cells: list[str]) -> Row:
    old, new, *more = cells
    match = _CODE.match(new)
    code = "\n".join(_SPAN.findall(match[0])) if match else ""
    return Row(section, old, code, new[match.end() :] if match else new, "\n".join(_SPAN.findall("".join(more))))


@dataclass(frozen=True, slots=True)
class Services:
    """What the names on the page stand for, and the web servers themselves, which remember what they were asked.

    `mutual` is the address of a web server that demands a certificate of its clients.
    """

    names: dict[str, Any]
    web: HttpPeer
    secure: HttpPeer
    mutual: HttpPeer


def _respond(asked: Asked) -> bytes:
    if asked.target.endswith("/slow"):
        gevent.sleep(2)
    return answer(asked.body or b"hello world", "200 OK", "Content-Type: text/plain", "X-Twice: one", "X-Twice: two")


def _says_ready(context: ssl.SSLContext) -> Any:
    def talk(connection: Any) -> None:
        connection.sendall(b"220 ready\r\n")
        while (data := connection.recv(65536)) not in (b"", b"quit\r\n"):
            if data == b"STARTTLS\r\n":
                connection.sendall(b"go\r\n")
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    while piece := encrypted.recv(65536):
                        encrypted.sendall(piece)
                return
            connection.sendall(data)

    return talk


@contextmanager
def services(certificates: Certificates) -> Iterator[Services]:
    """The servers, until the end of the block."""
    context = certificates.server_context("good")
    with ExitStack() as running:
        web = running.enter_context(http_serving(_respond))
        secure = running.enter_context(http_serving(_respond, tls=context))
        demanding = certificates.server_context("good", ask_client=True)
        mutual = running.enter_context(http_serving(_respond, tls=demanding))
        tcp = running.enter_context(serving(_says_ready(context)))
        tls = running.enter_context(serving(_says_ready(context), tls=context))
        udp = running.enter_context(serving_udp(lambda data: [] if data == b"deaf" else [data]))
        names = {
            "url": web.url(),
            "secure": secure.url(),
            "slow": web.url("/slow"),
            "host": LOOPBACK,
            "port": tcp.port,
            "tls_port": tls.port,
            "udp_port": udp.port,
            "dead": running.enter_context(dead_port()),
            "ca": str(certificates.ca_file),
            "cert": str(certificates.certificate("client")),
            "key": str(certificates.key("client")),
            "proxy": web.url(),
            "servers": Upstreams([(LOOPBACK, web.port)]),
            "tcp_servers": Upstreams([(LOOPBACK, tcp.port)]),
        }
        yield Services(names, web, secure, mutual)
