"""Postfix and Sendmail with filterd as their milter: what the sender is told, and what lies in the mailbox in the end."""

import ast
import hashlib
import re
import shutil
import smtplib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running_daemon
from tests.support.orders import ACTIONS, ORDERS, ordered
from tests.support.partners import free_port
from tests.support.postfix import Postfix, running_postfix
from tests.support.sendmail import Sendmail, running_sendmail
from tests.support.smtp import deliver, fields_of

ROOT = Path(__file__).parents[2]

Mta = Postfix | Sendmail

HEADERS = ("X-Old: 1", "X-Old: 2", "X-Gone: yes", "X-Fold:  a\r\n\t b", "X-Old: 3", "X-Tight:x")
# What the order "headers" does to HEADERS.
REMOVED = (("X-Old", "1"), ("X-Old", "3"))
ADDED = ("X-Top", "X-Second", "X-Before-Last", "X-Folded", "X-Several")


def listening(port: int, more: str = "") -> str:
    return f'[listen.milter]\nprotocol = "milter"\nbind = "127.0.0.1:{port}"\n{more}{ACTIONS}'


@pytest.fixture(scope="module")
def milter_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, milter_port: int) -> Iterator[Daemon]:
    toml = listening(milter_port) + '[limits]\nmessage = "1MiB"\n'
    with running_daemon(tmp_path_factory.mktemp("filterd"), {"orders": ORDERS}, toml) as running:
        yield running


@pytest.fixture(scope="module")
def postfix(daemon: Daemon, milter_port: int) -> Iterator[Postfix]:
    """With the lines of contrib/postfix."""
    lines = (ROOT / "contrib" / "postfix" / "filterd.cf").read_text().replace("11332", str(milter_port)).splitlines()
    with running_postfix(dict(line.split(" = ") for line in lines if line and not line.startswith("#"))) as running:
        yield running


@pytest.fixture(scope="module")
def sendmail(daemon: Daemon, milter_port: int) -> Iterator[Sendmail]:
    """With the line of contrib/sendmail."""
    text = (ROOT / "contrib" / "sendmail" / "filterd.mc").read_text()
    (settings,) = re.findall(r"^INPUT_MAIL_FILTER\(`filterd', `(.*)'\)dnl$", text, re.MULTILINE)
    with running_sendmail(settings.replace("11332", str(milter_port))) as running:
        yield running


@pytest.fixture(params=["postfix", "sendmail"])
def mta(request: pytest.FixtureRequest) -> Mta:
    running: Mta = request.getfixturevalue(request.param)
    return running


def fields_after(mta: Mta, mail: bytes) -> list[tuple[str, str]]:
    """Deliver a mail that is accepted; its header as it arrives, without what every MTA adds."""
    assert [code for code, _ in deliver(mta.port, mail)] == [250]
    own = {"Return-Path", "X-Original-To", "Delivered-To", "Received"}
    return [field for field in fields_of(mta.mails()[0]) if field[0] not in own]


def fields_without(mail: bytes, *names: str) -> list[tuple[str, str]]:
    return [field for field in fields_of(mail.replace(b"\r\n", b"\n")) if field[0] not in names]


def test_a_good_mail_arrives_as_it_was_sent_and_was_scanned_as_it_was_sent(mta: Mta) -> None:
    mail = ordered("tell", *HEADERS)
    fields = fields_after(mta, mail)
    expected = fields_without(mail)
    assert fields[: len(expected)] == expected
    added = dict(fields[len(expected) :])
    assert added["X-Digest"] == hashlib.sha256(mail).hexdigest()
    told = ast.literal_eval(added["X-Told"])
    assert told["queue-id"] == [added["X-Queue-Id"]]
    assert told["queue-id"] != ["none"]
    assert {name: told[name] for name in ("from", "helo", "ip", "rcpt", "flags")} == {
        "from": ["<ann@example.org>"],
        "helo": ["client.example.org"],
        "ip": ["127.0.0.1"],
        "rcpt": ["<bob@example.net>"],
        "flags": ["milter,body_block"],
    }


def test_greylisted_is_a_mark_only(mta: Mta) -> None:
    mail = ordered("greylist")
    assert fields_after(mta, mail) == fields_without(mail)


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        ("reject", (554, "5.7.1 100% refused\n5.7.1 see https://example.org/%s")),
        ("reject without a word", (554, "5.7.1 Spam message rejected")),
        ("soft reject", (451, "4.7.1 please wait")),
    ],
)
def test_what_is_refused_is_refused_in_the_rules_words(mta: Mta, order: str, answer: tuple[int, str]) -> None:
    assert deliver(mta.port, ordered(order)) == [answer]
    mta.mails(0)


def test_spam_is_marked_and_the_senders_own_mark_removed(mta: Mta) -> None:
    mail = ordered("add header", "X-Spam: No", "X-Spam: Never")
    fields = fields_after(mta, mail)
    assert [value for name, value in fields if name == "X-Spam"] == ["Yes"]
    assert [field for field in fields if field[0] != "X-Spam"] == fields_without(mail, "X-Spam")


def test_the_rule_may_choose_the_mark(mta: Mta) -> None:
    mail = ordered("other mark")
    assert fields_after(mta, mail) == [*fields_without(mail), ("X-Mark", "seen")]


def test_a_subject_is_rewritten_in_its_place(mta: Mta) -> None:
    mail = ordered("rewrite subject")
    expected = [(name, "*** SPAM *** hello" if name == "Subject" else value) for name, value in fields_without(mail)]
    assert fields_after(mta, mail) == expected


def test_a_mail_without_a_subject_gets_one(mta: Mta) -> None:
    mail = ordered("rewrite subject").replace(b"Subject: hello\r\n", b"")
    assert fields_after(mta, mail) == [*fields_without(mail), ("Subject", "*** SPAM ***")]


def test_a_subject_that_is_no_ascii_stays_readable(mta: Mta) -> None:
    mail = ordered("rewrite subject", subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=")
    assert dict(fields_after(mta, mail))["Subject"] == "=?UTF-8?B?KioqIFNQQU0gKioqIEdyw7zDn2U=?="


@pytest.mark.parametrize("order", ["discard", "discard rejected"])
def test_what_is_discarded_is_taken_and_gone(mta: Mta, order: str) -> None:
    assert [code for code, _ in deliver(mta.port, ordered(order), ordered())] == [250, 250]
    # The second mail has arrived: the first would have, too.
    assert b"X-Order: \n" in mta.mails()[0]
    mta.mails(0)


@pytest.mark.parametrize("order", ["quarantine", "quarantine rejected"])
def test_what_is_quarantined_is_held_and_the_next_mail_is_not(mta: Mta, order: str) -> None:
    before = set(mta.held)
    assert [code for code, _ in deliver(mta.port, ordered(order), ordered())] == [250, 250]
    assert b"X-Order: \n" in mta.mails()[0]
    assert len(set(mta.held) - before) == 1


def test_what_was_held_by_postfix_can_be_let_go(postfix: Postfix) -> None:
    postfix.drop_held()
    deliver(postfix.port, ordered("quarantine"))
    assert len(postfix.held) == 1
    postfix.mails(0)
    postfix.release()
    assert b"X-Order: quarantine" in postfix.mails()[0]


def test_a_reject_that_is_not_to_be_carried_out_leaves_a_note(mta: Mta) -> None:
    mail = ordered("unchanged")
    assert fields_after(mta, mail) == [*fields_without(mail), ("X-Rspamd-Action", "reject")]


def test_headers_are_removed_and_added_at_their_places(mta: Mta) -> None:
    mail = ordered("headers", *HEADERS, "X-Last: z")
    fields = fields_after(mta, mail)
    kept = [(name, value) for name, value in fields_without(mail, "X-Gone", "X-Order") if (name, value) not in REMOVED]
    assert [field for field in fields if not field[0].startswith(ADDED)] == kept
    assert fields[:2] == [("X-Top", "0"), ("X-Second", "1")]
    assert fields[-3:] == [("X-Folded", "one\n two"), ("X-Several", "first"), ("X-Several", "second")]
    place = fields.index(("X-Before-Last", "-2"))
    if isinstance(mta, Postfix):
        assert fields[place + 1][0] == "X-Last"
    else:  # Sendmail counts what was removed, and headers of its own, so the place is further up
        assert 2 <= place < fields.index(("X-Last", "z"))


def test_sender_and_recipients_are_changed(mta: Mta) -> None:
    deliver(mta.port, ordered("envelope"), recipients=["bob@example.net", "eve@example.net"])
    fields = [field for mail in mta.mails(2 if isinstance(mta, Postfix) else 1) for field in fields_of(mail)]
    assert {value for name, value in fields if name == "Return-Path"} == {"<changed@example.org>"}
    delivered = " ".join(value for name, value in fields if name == "Delivered-To").split()
    assert sorted(delivered) == ["added@example.net", "eve@example.net"]


def test_a_body_is_replaced(mta: Mta) -> None:
    mail = ordered("body", body="old\r\n" * 30_000)
    deliver(mta.port, mail)
    (arrived,) = mta.mails()
    head, _, body = arrived.partition(b"\n\n")
    longest = b"x" * 70_000
    # Both MTAs break lines that are longer than SMTP allows.
    assert body.replace(b"!\n ", b"").replace(b"!\n", b"").replace(b"\n", b"") == b"new.body " + longest + b"end"
    assert b"X-Order: body" in head


def test_a_long_body_that_is_not_touched_arrives_whole(mta: Mta) -> None:
    body = "".join(f"line {number}\r\n.\r\n" for number in range(20_000))
    mail = ordered("tell", body=body)
    assert len(mail) > 3 * 65536
    deliver(mta.port, mail)
    (arrived,) = mta.mails()
    assert arrived.partition(b"\n\n")[2] == body.replace("\r\n", "\n").encode()
    assert dict(fields_of(arrived))["X-Digest"] == hashlib.sha256(mail).hexdigest()


def test_a_message_above_the_limit_is_refused_for_now(mta: Mta) -> None:
    answers = deliver(mta.port, ordered("", body="x\r\n" * 400_000), ordered())
    assert answers[0] == (451, "4.3.4 The message has more than 1048576 bytes")
    assert answers[1][0] == 250
    assert b"X-Order: \n" in mta.mails()[0]


def test_many_messages_of_one_client_each_have_their_own_verdict(mta: Mta) -> None:
    orders = ["reject", "", "soft reject", "add header", "reject", "rewrite subject", ""]
    answers = deliver(mta.port, *(ordered(order, subject=str(number)) for number, order in enumerate(orders)))
    assert [code for code, _ in answers] == [554, 250, 451, 250, 554, 250, 250]
    arrived = [dict(fields_of(mail)) for mail in mta.mails(4)]
    assert {(fields["Subject"], fields.get("X-Spam")) for fields in arrived} == {
        ("1", None),
        ("3", "Yes"),
        ("*** SPAM *** 5", None),
        ("6", None),
    }


def test_a_message_that_is_taken_back_is_forgotten(mta: Mta) -> None:
    with smtplib.SMTP("127.0.0.1", mta.port, local_hostname="client.example.org", timeout=15) as client:
        client.ehlo()
        client.mail("first@example.org")
        client.rcpt("first@example.net")
        client.rset()
        client.mail("ann@example.org")
        client.rcpt("bob@example.net")
        assert client.data(ordered("tell"))[0] == 250
    told = ast.literal_eval(dict(fields_of(mta.mails()[0]))["X-Told"])
    assert (told["from"], told["rcpt"]) == (["<ann@example.org>"], ["<bob@example.net>"])


def test_bounces_and_utf8_names_are_no_trouble(mta: Mta) -> None:
    deliver(mta.port, ordered("tell", "X-Utf8: gr\u00fcn"), sender="")
    fields = dict(fields_of(mta.mails()[0]))
    assert fields["X-Utf8"] == "grün"
    assert ast.literal_eval(fields["X-Told"])["from"] == ["<>"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            "NAME=client.example.org ADDR=192.0.2.55 LOGIN=ann",
            {"ip": ["192.0.2.55"], "hostname": ["client.example.org"], "user": ["ann"]},
        ),
        ("NAME=[UNAVAILABLE] ADDR=192.0.2.56", {"ip": ["192.0.2.56"]}),
    ],
)
def test_postfix_tells_who_the_client_is(postfix: Postfix, told: str, expected: dict[str, list[str]]) -> None:
    with smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="client.example.org", timeout=15) as client:
        client.ehlo()
        assert client.docmd("XCLIENT", told)[0] == 220
        client.ehlo("helo.example.org")
        client.mail("ann@example.org", ["SIZE=1000"])
        client.rcpt("bob@example.net")
        assert client.data(ordered("tell"))[0] == 250
    request = ast.literal_eval(dict(fields_of(postfix.mails()[0]))["X-Told"])
    assert {name: request.get(name) for name in ("ip", "hostname", "user")} == {
        "ip": None,
        "hostname": None,
        "user": None,
        **expected,
    }
    assert (request["helo"], request["x-rspamd-mail-esmtp-args"]) == (["helo.example.org"], ["SIZE=1000"])


def test_mail_from_this_machine_is_filtered_as_well(postfix: Postfix) -> None:
    postfix.submit(ordered("tell").replace(b"\r\n", b"\n"))
    fields = dict(fields_of(postfix.mails()[0]))
    assert {name: ast.literal_eval(fields["X-Told"])[name] for name in ("from", "rcpt", "ip")} == {
        "from": ["<ann@example.org>"],
        "rcpt": ["<bob@example.net>"],
        "ip": ["127.0.0.1"],
    }
    assert fields["X-Queue-Id"] != "none"


def test_one_line_of_the_log_has_the_mtas_queue_id(mta: Mta, daemon: Daemon) -> None:
    ((_, text),) = deliver(mta.port, ordered())
    mta.mails()
    queue_id = text.split()[-1] if isinstance(mta, Postfix) else text.split()[1]
    lines = [line for line in daemon.process.output().splitlines() if f'"queue_id":"{queue_id}"' in line]
    assert len(lines) == 1
    assert '"door":"milter"' in lines[0]


# -- filterd ends, is busy, or is not there


def until_it_waits(daemon: Daemon) -> None:
    """Until the rule is at the order "wait", which takes it three seconds."""
    end = time.monotonic() + 10
    while '"text":"waiting"' not in daemon.process.output():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_worker_that_ends_answers_the_message_under_way_and_the_next_one_is_tempfailed(tmp_path: Path) -> None:
    port = free_port()
    with running_postfix({"smtpd_milters": f"inet:127.0.0.1:{port}"}) as postfix:
        with running_daemon(tmp_path, {"orders": ORDERS}, listening(port)) as daemon:
            with smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="client.example.org", timeout=15) as client:
                client.ehlo()
                client.mail("ann@example.org")
                client.rcpt("bob@example.net")
                client.putcmd("data")
                assert client.getreply()[0] == 354
                client.send(ordered("wait") + b".\r\n")
                until_it_waits(daemon)
                daemon.process.process.terminate()
                assert client.getreply()[0] == 250
            assert daemon.process.process.wait(10) == 0
            assert "1 messages under way" in daemon.process.output()
        assert b"X-Order: wait" in postfix.mails()[0]
        with smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="client.example.org", timeout=15) as client:
            client.ehlo()
            assert client.mail("ann@example.org")[0] == 451


def test_a_socket_file_is_as_good_as_a_port() -> None:
    folder = Path(tempfile.mkdtemp(prefix="filterd"))
    try:
        folder.chmod(0o755)
        where = folder / "milter.sock"
        toml = f'[listen.milter]\nprotocol = "milter"\nbind = "unix:{where} mode=0666"\n{ACTIONS}'
        with running_daemon(folder, {"orders": ORDERS}, toml), running_postfix({"smtpd_milters": f"unix:{where}"}) as postfix:
            assert [code for code, _ in deliver(postfix.port, ordered("reject"), ordered())] == [554, 250]
            postfix.mails(1)
    finally:
        shutil.rmtree(folder)


def test_an_overloaded_filterd_has_the_sender_try_again(tmp_path: Path) -> None:
    port = free_port()
    toml = listening(port) + "[limits]\ntasks = 1\n"
    with (
        running_daemon(tmp_path, {"orders": ORDERS}, toml) as daemon,
        running_postfix({"smtpd_milters": f"inet:127.0.0.1:{port}"}) as postfix,
        smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="client.example.org", timeout=15) as client,
    ):
        client.ehlo()
        client.mail("ann@example.org")
        client.rcpt("bob@example.net")
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(ordered("wait") + b".\r\n")
        until_it_waits(daemon)
        assert deliver(postfix.port, ordered()) == [(451, "4.7.1 Service unavailable - try again later")]
        assert client.getreply()[0] == 250
        assert b"X-Order: wait" in postfix.mails()[0]
