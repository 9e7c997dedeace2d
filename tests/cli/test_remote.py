"""`filterd scan --connect`: a running daemon gives the verdict that the engine here would."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from filterd.cli.remote import Daemon
from tests.support.partners import free_port, running

Run = Callable[..., Result]
Mail = Callable[..., str]

# What differs from one scan to the next.
CHANGING = {"time_real", "profile"}


@pytest.fixture
def daemon(config: Callable[..., str], argv: Callable[..., list[str]], real: object, folder: Path) -> Iterator[int]:
    """A daemon with the rules of the tests; its port. It listens on `scan.sock` too."""
    port = free_port()
    with running(argv("run", "-c", config(port)), ready=port, cwd=folder):
        yield port


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """A server that gives everybody this reply; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection = server.accept()[0]
            with connection:
                connection.recv(65536)
                connection.sendall(reply)
                # Closing with something unread would be a reset, and take the reply with it.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def ok(body: str, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def constant(text: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(text).items() if key not in CHANGING}


def test_scan_and_daemon_agree(daemon: int, run: Run, mail: Mail, folder: Path) -> None:
    """Here, through --connect on TCP and on the unix socket, and asked by another client."""
    name = mail("a", "Subject: x", "X-Kid: y", "X-Action: soft reject", "Message-ID: <a@b>")
    words = (
        "scan",
        "--json",
        "-i",
        "192.0.2.7",
        "-F",
        "a@example.com",
        "-r",
        "b@example.com",
        "--header",
        "X-Extra: caf\u00e9",
        name,
    )
    here = constant(run(*words, "--rules", "rules").stdout)
    assert here["action"] == "soft reject"
    assert constant(run(*words, "--connect", f"http://127.0.0.1:{daemon}").stdout) == here
    assert constant(run(*words, "--connect", f"http://localhost:{daemon}/").stdout) == here
    assert constant(run(*words, "--connect", f"unix:{folder}/scan.sock").stdout) == here
    client = http.client.HTTPConnection("127.0.0.1", daemon, timeout=5)
    headers: dict[str, str | bytes] = {
        "IP": "192.0.2.7",
        "From": "a@example.com",
        "Rcpt": "b@example.com",
        "X-Extra": "caf\u00e9".encode(),
    }
    client.request("POST", "/checkv2", (folder / name).read_bytes(), headers)
    assert constant(client.getresponse().read().decode()) == here
    client.close()


def test_a_person_is_shown_the_same(daemon: int, run: Run, mail: Mail) -> None:
    name = mail("a", "Subject: x", "X-Kid: y", "X-Broken: z")
    here = run("scan", "--rules", "rules", name).stdout.splitlines()
    there = run("scan", "--connect", f"http://127.0.0.1:{daemon}", name).stdout.splitlines()
    # A daemon does not say where its rules are; how long each took it does.
    assert there[1].split() == [word for word in here[1].split() if word != "rule"]
    cells = [[[word for word in line.split()[:3] if ".py:" not in word] for line in lines[2:6]] for lines in (here, there)]
    assert cells[0] == cells[1] == [["HAS_SUBJECT", "5.00", "x"], ["KID", "1.25"], ["NOBODY", "0.00"], ["WHO", "0.00", "None"]]
    assert there[6].startswith("  add header 6.25 / 15.00 in ")
    assert there[7].startswith("  rule_failures: BROKEN: LookupError: no such luck at ")


def test_explained_and_traced(daemon: int, run: Run, mail: Mail) -> None:
    text = run("scan", "--connect", f"http://127.0.0.1:{daemon}", "--explain", "--trace", mail("a", "Subject: x")).stdout
    assert "2.5 × 2  The message has a subject" in text
    assert "  thresholds: reject 15, add header 6, greylist 4\n" in text
    assert "  also ran: " in text
    assert "█" in text


def test_several_with_an_exit_code(daemon: int, run: Run, mail: Mail) -> None:
    names = [mail(f"m/{number}", f"X-Action: {action}") for number, action in enumerate(["add header", "reject"])]
    result = run("scan", "--connect", f"http://127.0.0.1:{daemon}", "--exit-code", *names)
    assert result.exit_code == 12
    assert [line for line in result.stdout.splitlines() if line.startswith("m/")] == names


def test_nobody_there(run: Run, mail: Mail, folder: Path) -> None:
    port = free_port()
    result = run("scan", "--connect", f"http://127.0.0.1:{port}", mail("a"), mail("b"))
    assert result.exit_code == 1
    lines = [f"{name}: http://127.0.0.1:{port}: Connection refused" for name in ("a", "b")]
    assert result.stderr.splitlines() == lines
    assert "No such file or directory" in run("scan", "--connect", "unix:none.sock", "a").stderr


def test_an_error_is_told_as_the_daemon_says_it(daemon: int, run: Run, mail: Mail) -> None:
    result = run("scan", "--json", "--connect", f"http://127.0.0.1:{daemon}/nowhere", mail("a"))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"a: http://127.0.0.1:{daemon}/nowhere: 500 invalid command\n"


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"", "Remote end closed connection without response"),
        (b"SSH-2.0-Nothing\r\n", "SSH-2.0-Nothing"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "IncompleteRead"),
        (ok("nope", status="404 Not Found"), "404 Not Found"),
        (ok('{"error": "later"}', status="503 Busy"), "503 later"),
        (ok("{}"), "the answer is not that of a scan"),
        (ok("[]"), "the answer is not that of a scan"),
        (ok("hello"), "the answer is not that of a scan"),
        (ok('{"action": "no action", "score": "much", "symbols": {}}'), "the answer is not that of a scan"),
        (ok('{"action": "no action", "score": 1, "symbols": {"A": 1}}'), "the answer is not that of a scan"),
        (ok('{"action": "no action", "score": 1, "symbols": []}'), "the answer is not that of a scan"),
    ],
)
def test_who_is_no_daemon_is_told(run: Run, mail: Mail, reply: bytes, text: str) -> None:
    with answering(reply) as url:
        result = run("scan", "--connect", url, mail("a"))
    assert result.exit_code == 1
    assert f"a: {url}: " in result.stderr
    assert text in result.stderr


def test_the_least_an_answer_can_say(run: Run, mail: Mail) -> None:
    with answering(
        ok('{"action": "no action", "score": 1.5, "required_score": null, "symbols": {"A": {"score": 1.5}}}')
    ) as url:
        text = run("scan", "--connect", url, mail("a")).stdout
    assert [line.split() for line in text.splitlines()[2:4]] == [
        ["A", "1.50"],
        ["no", "action", "1.50", "/", "none", "in", "0.0", "ms"],
    ]


def test_an_answer_on_several_lines_is_printed_as_one(run: Run, mail: Mail) -> None:
    with answering(ok('{"action": "reject",\r\n "score": 20,\n "symbols": {}}\n')) as url:
        result = run("scan", "--json", "--exit-code", "--connect", url, mail("a"))
    assert result.exit_code == 12
    assert len(result.stdout.splitlines()) == 1
    assert json.loads(result.stdout)["score"] == 20


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://mx.example.com", ("mx.example.com", 11333, "/checkv2")),
        ("http://[::1]:80/", ("::1", 80, "/checkv2")),
        ("HTTP://a:1/rspamd/checkv2", ("a", 1, "/rspamd/checkv2")),
    ],
)
def test_where_a_daemon_is(url: str, where: tuple[str, int, str]) -> None:
    found = Daemon(url)
    assert (found.host, found.port, found.target) == where


def test_a_unix_socket() -> None:
    assert Daemon("unix:/run/filterd.sock").unix == "/run/filterd.sock"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "unix:",
        "localhost",
        "localhost:11333",
        "ftp://a",
        "http://",
        "http://a:x",
        "http://a:99999",
        "http://me@a",
        "http://[",
    ],
)
def test_what_is_no_address_of_a_daemon_is_a_usage_error(run: Run, mail: Mail, url: str) -> None:
    result = run("scan", "--connect", url, mail("a"))
    assert result.exit_code == 2
    assert "is not the address of a daemon" in result.stderr


@pytest.mark.parametrize("words", [["-c", "f.toml"], ["--rules", "rules"], ["--set", "a=b"], ["--symbols", "A"]])
def test_a_daemon_has_its_own_configuration(run: Run, mail: Mail, words: list[str]) -> None:
    result = run("scan", "--connect", "http://localhost", *words, mail("a"))
    assert result.exit_code == 2
    assert "its own configuration" in result.stderr
