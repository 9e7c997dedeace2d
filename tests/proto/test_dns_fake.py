"""Records written in a configuration become the values of the documented types."""

import pytest

from filterd.proto.dns import NO_NAME, NO_RECORDS, TIMED_OUT, CaaRecord, MxRecord, SoaRecord, SrvRecord, TlsaRecord
from filterd.proto.dns_fake import RCODES, fake_reply


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("a", "127.0.0.2", "127.0.0.2"),
        ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
        ("ptr", "mail.example.org", "mail.example.org"),
        ("ns", "ns.example.org.", "ns.example.org"),
        ("cname", "www.example.org", "www.example.org"),
        ("mx", "10 mx.example.org", MxRecord("mx.example.org", 10)),
        ("txt", "v=spf1 -all", "v=spf1 -all"),
        ("txt", "v=DKIM1; p=ab=", "v=DKIM1; p=ab="),
        ("txt", '"v=spf1 " "-all"', "v=spf1 -all"),
        ("txt", "é", b"\xc3\xa9".decode("latin-1")),
        ("txt", "", ""),
        ("spf", "v=spf1 -all", "v=spf1 -all"),
        ("soa", "ns.a admin.a 1 2 3 4 5", SoaRecord("ns.a", "admin.a", 1, 2, 3, 4, 5)),
        ("srv", "1 2 25 mx.a", SrvRecord("mx.a", 1, 2, 25)),
        ("tlsa", "3 1 1 " + "0f" * 32, TlsaRecord(3, 1, 1, b"\x0f" * 32)),
        ("caa", '0 issue "ca.example"', CaaRecord(0, "issue", "ca.example")),
        ("any", "mx 10 mx.example.org", MxRecord("mx.example.org", 10)),
        ("any", "TXT two words", "two words"),
        ("any", 'hinfo "RFC8482" ""', r"\# 9 075246433834383200"),
    ],
)
def test_a_record_is_what_a_server_would_have_sent(kind: str, text: str, value: object) -> None:
    reply = fake_reply(kind, [text])
    assert (reply.error, reply.answers) == (None, (value,))
    assert reply.ttl > 0


def test_records_keep_their_order() -> None:
    assert fake_reply("a", ["127.0.0.9", "127.0.0.2"]).answers == ("127.0.0.9", "127.0.0.2")


@pytest.mark.parametrize(
    ("rcode", "text"),
    [
        ("nxdomain", NO_NAME),
        ("servfail", "server fail"),
        ("refused", "query refused"),
        ("formerr", "query format error"),
        ("notimp", "not implemented"),
        ("timeout", TIMED_OUT),
        ("noerror", NO_RECORDS),
    ],
)
def test_an_rcode_is_its_documented_text(rcode: str, text: str) -> None:
    assert fake_reply("a", [], rcode).error == text
    assert rcode == "noerror" or fake_reply("a", ["127.0.0.2"], rcode) == fake_reply("a", [], rcode)
    assert RCODES.get(rcode, NO_RECORDS) == text


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("a", "listed", r"'listed' is not a record of type a: "),
        ("a", "::1", r"'::1' is not a record of type a: "),
        ("mx", "mx.example.org", r"'mx.example.org' is not a record of type mx: "),
        ("any", "mx", r"'' is not a record of type mx: "),
        ("any", "nothing 1", r"'1' is not a record of type nothing: "),
        ("axfr", "x", r"'axfr' is not a DNS record type; known are a, "),
        ("txt", '"open', "is not a record of type txt: "),
    ],
)
def test_what_is_no_record_is_named(kind: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fake_reply(kind, [text])


def test_an_unknown_rcode_is_named() -> None:
    with pytest.raises(ValueError, match="'later' is not an rcode; known are noerror, formerr"):
        fake_reply("a", [], "later")
