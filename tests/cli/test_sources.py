"""The messages a scan is pointed at: files, folders, mailboxes, the standard input."""

import io
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.cli import sources
from filterd.cli.sources import Source, files, messages

FROM = b"From sender@example.com Fri Nov 21 03:00:00 2025\n"
ONE = b"Subject: one\n\nText.\n"
TWO = b"Subject: two\n\nText.\n"


def read(data: bytes, folder: Path, *, limit: int | None = None) -> list[Source]:
    file = folder / "f"
    file.write_bytes(data)
    return [
        Source(found.name.removeprefix(str(folder)), found.raw, found.error) for found in messages(Source(str(file)), limit)
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", [("/f", b"")]),
        (ONE, [("/f", ONE)]),
        (FROM + ONE, [("/f", FROM + ONE)]),
        (FROM + ONE + b"\n", [("/f", FROM + ONE + b"\n")]),
        (FROM + ONE + b"\n" + FROM + TWO, [("/f#1", FROM + ONE), ("/f#2", FROM + TWO)]),
        (FROM + ONE + b"\n" + FROM + TWO + b"\n", [("/f#1", FROM + ONE), ("/f#2", FROM + TWO)]),
        # An MTA's own form of the separator, and CRLF.
        (
            b"From - Fri Nov 21 03:00 +0100 2025\r\nA: b\r\n\r\nx\r\n\r\n"
            b"From MAILER-DAEMON Fri Nov 21 03:00:00 2025\r\nC: d\r\n\r\n",
            [("/f#1", b"From - Fri Nov 21 03:00 +0100 2025\r\nA: b\r\n\r\nx\r\n"),
             ("/f#2", b"From MAILER-DAEMON Fri Nov 21 03:00:00 2025\r\nC: d\r\n")],
        ),
        # What merely looks like one: in a file that is no mailbox, without a blank line before, without a date.
        (ONE + b"\n" + FROM + TWO, [("/f", ONE + b"\n" + FROM + TWO)]),
        (FROM + ONE + FROM + TWO, [("/f", FROM + ONE + FROM + TWO)]),
        (FROM + ONE + b"\nFrom here on it is text.\n", [("/f", FROM + ONE + b"\nFrom here on it is text.\n")]),
        (b"From here on it is text.\n\n" + FROM + TWO, [("/f", b"From here on it is text.\n\n" + FROM + TWO)]),
    ],
)  # fmt: skip
def test_a_file_is_one_message_or_a_mailbox(tmp_path: Path, data: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert [(found.name, found.raw, found.error) for found in read(data, tmp_path)] == [(*pair, "") for pair in expected]


@given(st.lists(st.binary(max_size=80).filter(lambda body: b"From " not in body), min_size=2, max_size=5))
def test_what_is_put_into_a_mailbox_comes_out_of_it(bodies: list[bytes]) -> None:
    written = [FROM + body + b"\n" for body in bodies]
    found = list(sources._split("box", io.BytesIO(b"\n".join(written) + b"\n"), 10_000))
    assert [source.raw for source in found] == written


@given(st.binary(max_size=200), st.integers(1, 100))
def test_no_bytes_are_lost_or_made_up(data: bytes, limit: int) -> None:
    (found,) = sources._split("f", io.BytesIO(data), limit)
    assert found == (
        Source("f", data) if len(data) <= limit else Source("f", error=f"larger than {limit} bytes (limits.message)")
    )


def test_only_the_message_that_is_too_large_is_refused(tmp_path: Path) -> None:
    small, large = FROM + ONE, FROM + ONE + b"x" * 50 + b"\n"
    found = read(b"\n".join([small, large, small, large]), tmp_path, limit=len(small) + 1)
    assert [(source.name, bool(source.error)) for source in found] == [
        ("/f#1", False),
        ("/f#2", True),
        ("/f#3", False),
        ("/f#4", True),
    ]
    assert found[0].raw == found[2].raw == small
    assert found[1].raw == b""


def test_of_a_large_file_no_more_than_the_limit_is_read() -> None:
    stream = io.BytesIO(b"x\n" * 1_000_000)
    (found,) = sources._split("f", stream, 1000)
    assert found.error == "larger than 1000 bytes (limits.message)"
    assert stream.tell() < 100_000


@pytest.mark.parametrize(("name", "error"), [("nowhere", "No such file or directory"), ("s/f", "Not a directory")])
def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s").write_bytes(b"")
    assert list(messages(Source(name), None)) == [Source(name, error=error)]


def test_an_error_already_known_is_handed_on() -> None:
    assert list(messages(Source("d", error="Permission denied"), None)) == [Source("d", error="Permission denied")]


def test_a_folder_is_all_files_below_it_sorted_without_hidden_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m/b", "m/a/z", "m/a/y", "m/.hidden", "m/.git/x", "m/a.x", "m/c/d/e", "n", "other"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    os.mkfifo("m/pipe")
    Path("m/link").symlink_to("b")
    Path("m/loop").symlink_to(".")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("m/socket")
    expected = ["n", "./m/a/y", "./m/a/z", "./m/a.x", "./m/b", "./m/c/d/e", "./m/link"]
    assert [file.name for file in files(["n", "./m/"])] == expected


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "d").mkdir()
    scandir = os.scandir

    def forbidding(path: str) -> object:  # tests may run as root, whom no mode forbids anything
        if Path(path).name == "d":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    assert files([str(tmp_path)]) == [Source(f"{tmp_path}/a"), Source(f"{tmp_path}/d", error="Permission denied")]


def test_a_dash_is_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(FROM + ONE + b"\n" + FROM + TWO)))
    (file,) = files(["-"])
    assert [source.name for source in messages(file, None)] == ["-#1", "-#2"]
