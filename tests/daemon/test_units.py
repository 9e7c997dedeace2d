"""What administrators write for times, sizes and addresses is read exactly, and what is not one is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.daemon.units import Address, Written, absolute, address, bind, duration, size

NOT_TEXT: list[object] = [None, True, False, [], {}, b"8s"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(8, 8.0), (0, 0.0), (0.5, 0.5), ("8", 8.0), ("500ms", 0.5), ("8s", 8.0), ("1.5 s", 1.5), ("5min", 300.0), ("1h", 3600.0)],
)
def test_a_duration_is_seconds(written: object, seconds: float) -> None:
    read = duration(written)
    assert read == seconds
    assert isinstance(read, float)


@pytest.mark.parametrize(
    "written", [*NOT_TEXT, "", "soon", "-1", -1, "8 sec", "1m", "1h30min", "٣s", float("nan"), float("inf"), "9" * 400]
)
def test_what_is_no_duration_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match=r'^is not a duration \(seconds, or "500ms", "8s", "1h"\)$'):
        duration(written)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        (0, 0), (1024, 1024), ("512", 512), ("512b", 512), ("10k", 10_240), ("10K", 10_240), ("10KiB", 10_240), ("1kB", 1024),
        ("50MiB", 52_428_800), ("1.5 MiB", 1_572_864), ("1G", 2**30), ("9007199254740993", 9_007_199_254_740_993),
    ],
)  # fmt: skip
def test_a_size_is_bytes_in_powers_of_1024(written: object, count: int) -> None:
    assert size(written) == count


@pytest.mark.parametrize("written", [*NOT_TEXT, "", "big", -1, "-1k", 1.5, "5 MiX", "1T", "k", "9" * 400 + ".5G"])
def test_what_is_no_size_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match=r'^is not a size \(bytes, or "10k", "50MiB", "1G"\)$'):
        size(written)


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("127.0.0.1:11333", Address("127.0.0.1", 11333)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:53", Address("::1", 53)),
        ("[fe80::1%eth0]:53", Address("fe80::1%eth0", 53)),
        ("unix:/run/filterd.sock", Address(path="/run/filterd.sock")),
    ],
)
def test_an_address_prints_as_it_was_written(written: str, where: Address) -> None:
    assert address(written) == bind(written) == where
    assert str(where) == written


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("10.0.0.1", Address("10.0.0.1", 6379)),
        ("redis", Address("redis", 6379)),
        ("::1", Address("::1", 6379)),
        ("[::1]", Address("::1", 6379)),
        ("redis:1", Address("redis", 1)),
    ],
)
def test_a_default_makes_the_port_optional(written: str, where: Address) -> None:
    assert address(written, default_port=6379) == where


@pytest.mark.parametrize(
    "written",
    [*NOT_TEXT, "", "host", "127.0.0.1", "::1", ":25", "host:", "host:x", "host:65536", "host:-1", "[]:1", "[::1", "[host]:1",
     "256.0.0.1:1", "1.2.3:1", "a b:1", "a/b:1", "host:٣"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_its_shapes(written: object) -> None:
    for read in (address, bind):
        with pytest.raises(ValueError, match=r'^is not an address \("host:port", "\[::1\]:port", or "unix:/path"\)$'):
            read(written)


@given(st.text())
def test_any_text_is_an_address_that_reads_back_or_is_refused(text: str) -> None:
    try:
        where = bind(text)
    except ValueError:
        return
    assert bind(str(where)) == where


def test_a_unix_socket_takes_mode_owner_and_group() -> None:
    written = "unix:/run/f.sock mode=0660 owner=filterd group=postfix"
    assert bind(written) == Address(path="/run/f.sock", mode=0o660, owner="filterd", group="postfix")
    assert str(bind(written)) == written
    assert bind("unix:/run/f.sock mode=000").mode == 0


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("unix:/f mode=9", 'has the mode "9"'),
        ("unix:/f mode=", "has an option"),
        ("unix:/f color=red", "has an option"),
        ("unix:/f 0660", "has an option"),
        ("127.0.0.1:1 mode=0660", "has an option"),
        ("*:25", r'write "0\.0\.0\.0:25", "\[::\]:25" or both'),
        ("unix:", "is not a path"),
        ("unix:/" + "x" * 107, "is too long for a unix socket: 108 bytes, 107 are possible"),
    ],
)
def test_a_bind_that_cannot_work_says_why(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bind(written)


def test_a_relative_path_counts_from_where_it_was_written() -> None:
    folder = Path("/etc/filterd")
    assert absolute(Written("../rules", folder)) == Path("/etc/rules")
    assert absolute(Written("/rules", folder)) == Path("/rules")
    assert absolute("rules") == Path.cwd() / "rules"
    assert bind(Written("unix:f.sock mode=0600", folder)).path == "/etc/filterd/f.sock"
    assert address(Written("unix:f.sock", folder)).path == "/etc/filterd/f.sock"


@pytest.mark.parametrize("written", [*NOT_TEXT, "", "a\0b", 5])
def test_what_is_no_path_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"^is not a path$"):
        absolute(written)
