"""What is said of the envelope on the command line reaches the rules; what cannot be said is refused."""

from collections.abc import Callable

import pytest
from click.testing import Result

from filterd.cli.request import envelope


def test_every_option_reaches_the_rules(mail: Callable[..., str], run: Callable[..., Result]) -> None:
    client = "-i ::ffff:192.0.2.1 --helo h --hostname n -u me --queue-id Q1"
    addresses = "-F <a@example.com> -r b@example.com -r c@example.com,d@example.com"
    result = run(
        "scan", "--rules", "rules", *client.split(), *addresses.split(), "--header", "X-Extra:  and: more ", mail("a.eml")
    )
    assert result.exit_code == 0
    expected = "192.0.2.1, a@example.com, b@example.com, c@example.com, d@example.com, h, n, me, Q1, and: more"
    (line,) = (line for line in result.stdout.splitlines() if "WHO" in line)
    assert expected in line


@pytest.mark.parametrize("sender", ["", "<>"])
def test_the_null_sender_is_a_sender(sender: str) -> None:
    found = envelope(headers=(), mail_from=sender).mail_from
    assert found is not None
    assert found == ""


def test_what_is_not_said_is_absent() -> None:
    assert envelope(headers=(), ip=None, mail_from=None, rcpts=(), helo=None).headers == {}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-i", "nowhere"], "-i is not an address"),
        (["-F", "a b c@@"], "-F is not an address"),
        (["-r", "ok@example.com", "-r", "a b c@@"], "-r is not an address"),
        (["--helo", "a\r\nFrom: b"], "has a line break in it"),
        (["-r", "a\nb"], "has a line break in it"),
        (["--header", "X-A: b\nc"], "has a line break in it"),
        (["--header", "X-A"], "'X-A' is not 'Name: value'"),
        (["--header", "X A: b"], "'X A: b' is not 'Name: value'"),
        (["--header", ": b"], "': b' is not 'Name: value'"),
        (["--header", "Content-Length: 3"], "Content-Length belongs to the connection"),
    ],
)
def test_what_cannot_be_is_a_usage_error(run: Callable[..., Result], words: list[str], text: str) -> None:
    result = run("scan", *words, "a.eml")
    assert result.exit_code == 2
    assert text in result.stderr


def test_nonsense_can_be_sent_on_purpose(mail: Callable[..., str], run: Callable[..., Result]) -> None:
    result = run("scan", "--rules", "rules", "--header", "IP: nowhere", mail("a.eml"))
    assert result.exit_code == 0
    assert "WHO" in result.stdout
