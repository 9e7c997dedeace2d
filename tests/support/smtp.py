"""Mail handed to an MTA, and mail taken out of its mailbox."""

import smtplib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["deliver", "fields_of", "taken_from"]


def deliver(
    port: int,
    *mails: bytes,
    sender: str = "ann@example.org",
    recipients: Sequence[str] = ("bob@example.net",),
) -> list[tuple[int, str]]:
    """Hand mails to an MTA over one SMTP connection; gives for each its reply to the end of DATA."""
    answers = []
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.org", timeout=15) as client:
        client.ehlo()
        for mail in mails:
            client.mail(sender)
            for recipient in recipients:
                client.rcpt(recipient)
            code, text = client.data(mail)
            answers.append((code, text.decode()))
    return answers


def taken_from(folder: Path, count: int, *, told: Callable[[], str]) -> list[bytes]:
    """The files of a mailbox in order of arrival, which are then gone; waits for so many, ten seconds at most.

    `told` is what the MTA has to say if there are not so many.
    """
    end = time.monotonic() + 10
    while len(found := list(folder.glob("*")) if folder.exists() else []) < count and time.monotonic() < end:
        time.sleep(0.02)
    found.sort(key=lambda file: file.stat().st_mtime_ns)
    mails = [file.read_bytes().replace(b"\r\n", b"\n") for file in found]
    for file in found:
        file.unlink()
    assert len(mails) == count, f"{len(mails)} mails, {count} expected; {told()}"
    return mails


def fields_of(mail: bytes) -> list[tuple[str, str]]:
    """The header of a mail as name and value, the value as it stands there."""
    head = mail.partition(b"\n\n")[0].decode("utf-8", "surrogateescape").replace("\n\t", "\0\t").replace("\n ", "\0 ")
    lines = (line.partition(":") for line in head.split("\n"))
    return [(name, value.removeprefix(" ").replace("\0", "\n")) for name, _, value in lines]
