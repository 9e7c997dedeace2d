"""`filterd password`: the hash of what is typed or piped, and nothing else anywhere."""

import os
import pty
import subprocess
import sys
import time

import pytest

from filterd.proto.passwords import read_hash

COMMAND = [sys.executable, "-m", "filterd", "password"]


def piped(written: bytes) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(COMMAND, input=written, capture_output=True, timeout=15, check=False)


def test_the_first_line_of_the_input_is_hashed() -> None:
    done = piped("s3crét\nmore".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    known = read_hash(done.stdout.decode())
    assert known.fits("s3crét".encode())
    assert done.stdout.count(b"\n") == 1


def test_what_follows_is_left_for_the_next() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m filterd password && "$0" -m filterd password', sys.executable],
        input=b"one\ntwo\n",
        capture_output=True,
        timeout=15,
        check=True,
    )
    first, second = map(read_hash, done.stdout.decode().splitlines())
    assert first.fits(b"one")
    assert second.fits(b"two")


def test_no_two_hashes_are_equal() -> None:
    assert piped(b"x\n").stdout != piped(b"x\n").stdout


@pytest.mark.parametrize(
    ("written", "told"),
    [(b"", b"an empty password"), (b"\n", b"an empty password"), (b" x\n", b"a blank"), (b"x \r\n", b"a blank")],
)
def test_what_could_not_be_used_is_refused(written: bytes, told: bytes) -> None:
    done = piped(written)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told in done.stderr


@pytest.mark.parametrize(("second", "code"), [(b"s3cret", 0), (b"other", 1)])
def test_on_a_terminal_it_is_asked_for_twice_and_not_shown(second: bytes, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(COMMAND, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    for answer in (b"s3cret\n", second + b"\n"):
        wanted = shown.count(b": ") + 1
        until = time.monotonic() + 10
        while shown.count(b": ") < wanted and time.monotonic() < until:
            shown += os.read(ours, 1000)
        os.write(ours, answer)
    if code:
        # It asks again: closing the terminal is the end of it.
        while b"do not match" not in shown:
            shown += os.read(ours, 1000)
        process.terminate()
    out, _ = process.communicate(timeout=10)
    os.close(ours)
    assert b"s3cret" not in shown
    if code:
        assert out == b""
    else:
        assert process.returncode == 0
        assert read_hash(out.decode()).fits(b"s3cret")
