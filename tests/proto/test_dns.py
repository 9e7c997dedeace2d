"""Queries are what dnspython reads in them, replies are read as dnspython reads them, and no reply raises anything else."""

import ipaddress
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filterd.proto import dns as codec
from filterd.proto.dns import (
    MAX_RECORDS,
    NO_NAME,
    NO_RECORDS,
    RCODE_TEXTS,
    TIMED_OUT,
    TYPES,
    CaaRecord,
    MxRecord,
    ProtocolError,
    Reply,
    SoaRecord,
    SrvRecord,
    TlsaRecord,
    encode_question,
    parse_reply,
    render_query,
)

ID = 0x1234
NAME = "Mail.example.org"
SOA = "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 300"


def answer_to(
    kind: str, *answers: str, name: str = NAME, authority: tuple[str, ...] = (), rcode: int = 0, flags: str = "QR RD RA"
) -> bytes:
    """A reply as a server writes it, of records in zone file form (`owner ttl IN type rdata`)."""
    message = dns.message.Message(id=ID)
    message.flags = dns.flags.from_text(flags)
    message.set_rcode(dns.rcode.Rcode(rcode))
    message.question = [dns.rrset.from_text(f"{name}.", 0, "IN", kind)]
    for section, lines in ((message.answer, answers), (message.authority, authority)):
        for line in lines:
            owner, ttl, rdclass, rdtype, rdata = line.split(maxsplit=4)
            section.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
    return message.to_wire()


def parse(data: bytes, kind: str = "a", name: str = NAME) -> Reply | None:
    return parse_reply(data, ID, encode_question(name, kind))


# ------------------------------------------------------------------------------------------------------------------ queries


def test_a_query_octet_by_octet() -> None:
    assert render_query(ID, encode_question("A.example", "mx")) == bytes.fromhex(
        "1234 0120 0001 0000 0000 0001"  # id; RD and AD; one question, one additional record
        "01 61 07 6578616d706c65 00 000f 0001"  # a.example, MX, IN
        "00 0029 04d0 00000000 0000"  # OPT: 1232 octets, version 0, DO clear, no options
    )


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_asked_as_dnspython_understands_it(kind: str) -> None:
    message = dns.message.from_wire(render_query(65535, encode_question("_x.Bücher.example", kind.upper())))
    (question,) = message.question
    assert message.id == 65535
    assert question.name.to_text() == "_x.xn--bcher-kva.example."
    assert question.rdtype == dns.rdatatype.from_text(kind)
    assert message.flags == dns.flags.RD | dns.flags.AD
    assert (message.edns, message.payload, message.ednsflags) == (0, 1232, 0)


def test_a_server_without_edns_is_asked_in_the_old_way() -> None:
    message = dns.message.from_wire(render_query(ID, encode_question("a.example"), edns=False))
    assert (message.edns, message.flags, message.additional) == (-1, dns.flags.RD | dns.flags.AD, [])
    assert message.question[0].name.to_text() == "a.example."


def test_equal_questions_have_equal_octets() -> None:
    assert encode_question("Example.ORG.", "A") == encode_question("example.org") == encode_question("example.org", "a")


def test_an_unknown_type_is_a_value_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'axfr' is not a DNS record type; known are a, ns, cname, .*caa"):
        encode_question("example.org", "axfr")


@pytest.mark.parametrize("name", ["", "a..b", "a" * 64])
def test_a_bad_name_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match="is not a domain name"):
        encode_question(name)


# ------------------------------------------------------------------------------------------------------------ good replies


def test_records_of_the_type_asked_for_are_found_behind_their_cnames() -> None:
    data = answer_to(
        "a",
        "mail.example.org. 60 IN CNAME www.example.net.",
        "www.example.net. 300 IN A 192.0.2.1",
        "www.example.net. 300 IN A 192.0.2.2",
    )
    # The CNAME may change after 60 seconds, so the addresses may not be kept longer.
    assert parse(data) == Reply(error=None, answers=("192.0.2.1", "192.0.2.2"), ttl=60)


def test_every_record_answers_the_question_for_any() -> None:
    data = answer_to(
        "any", f"{NAME}. 9 IN A 192.0.2.1", f"{NAME}. 9 IN MX 5 mx.example.org.", f'{NAME}. 9 IN HINFO "RFC8482" ""'
    )
    reply = parse(data, "any")
    assert reply is not None
    assert reply.answers == ("192.0.2.1", MxRecord("mx.example.org", 5), r"\# 9 075246433834383200")


@pytest.mark.parametrize(
    ("flags", "authenticated", "truncated"), [("QR", False, False), ("QR AD", True, False), ("QR TC", False, True)]
)
def test_flags_of_the_reply_are_told(flags: str, authenticated: bool, truncated: bool) -> None:
    reply = parse(answer_to("a", f"{NAME}. 9 IN A 192.0.2.1", flags=flags))
    assert reply == Reply(None, ("192.0.2.1",), 9, truncated, authenticated)


def test_the_case_of_the_name_may_change_but_not_the_octets_of_the_type() -> None:
    data = answer_to("spf", f'{NAME}. 9 IN SPF "x"')
    assert b"\4Mail" in data
    reply = parse(data, "spf", NAME.swapcase())
    assert reply is not None
    assert reply.answers == ("x",)
    # 99 is SPF and, taken for a letter, the lower case of 67.
    assert parse(answer_to("type67"), "spf") is None


def test_each_rule_gets_a_list_of_its_own_whose_ttl_has_aged() -> None:
    reply = Reply(None, ("192.0.2.1",), ttl=60, truncated=True, authenticated=True)
    records = reply.records(age=10.9)
    assert (records, records.ttl, records.truncated, records.authenticated) == (["192.0.2.1"], 50, True, True)
    records.append("spoilt")
    assert reply.records() == ["192.0.2.1"]
    assert reply.records().ttl == 60
    assert reply.records(age=61.0).ttl == 0


@pytest.mark.parametrize(("ttl", "expected"), [(0x7FFFFFFF, 0x7FFFFFFF), (0x80000000, 0), (0, 0)])
def test_a_time_to_live_beyond_31_bits_is_zero(ttl: int, expected: int) -> None:
    reply = parse(answer_to("a", f"{NAME}. {ttl} IN A 192.0.2.1"))
    assert reply is not None
    assert reply.ttl == expected


# ------------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("rcode", "text"),
    [
        (1, "query format error"),
        (2, "server fail"),
        (3, "no records with this name"),
        (4, "not implemented"),
        (5, "query refused"),
        (6, "YXDOMAIN"),
        (7, "YXRRSET"),
        (8, "NXRRSET"),
        (9, "not authorized"),
        (10, "no such zone"),
        (11, "unknown rcode 11"),
        (15, "unknown rcode 15"),
    ],
)
def test_an_rcode_is_its_documented_text(rcode: int, text: str) -> None:
    assert parse(answer_to("a", f"{NAME}. 9 IN A 192.0.2.1", rcode=rcode)) == Reply(text, (), 0)
    assert RCODE_TEXTS[rcode] == text


def test_the_texts_without_an_rcode() -> None:
    assert RCODE_TEXTS[3] == NO_NAME
    assert NO_RECORDS == "requested record is not found"
    assert TIMED_OUT == "query timed out"
    assert parse(answer_to("a")) == Reply(NO_RECORDS, ())
    assert parse(answer_to("a", f"{NAME}. 9 IN AAAA ::1")) == Reply(NO_RECORDS, ())


@pytest.mark.parametrize(("rcode", "text"), [(0, NO_RECORDS), (3, NO_NAME)])
@pytest.mark.parametrize(
    ("answers", "authority", "ttl"),
    [
        pytest.param((), (SOA,), 300, id="the SOA's minimum"),
        pytest.param((), (SOA.replace(" 900 ", " 60 "),), 60, id="the SOA's own time to live, if less"),
        pytest.param((), (SOA.replace(" 900 ", " 2147483648 "),), 0, id="the SOA's own, beyond 31 bits"),
        pytest.param((f"{NAME}. 20 IN CNAME x.example.org.",), (SOA,), 20, id="a CNAME's, if less"),
        pytest.param((), ("example.org. 7 IN NS ns.example.org.", SOA), 300, id="the SOA behind another record"),
        pytest.param((), ("example.org. 7 IN NS ns.example.org.",), 0, id="none without a SOA"),
    ],
)
def test_how_long_there_is_none_may_be_kept(
    rcode: int, text: str, answers: tuple[str, ...], authority: tuple[str, ...], ttl: int
) -> None:
    data = answer_to("a", *answers, authority=authority, rcode=rcode)
    assert parse(data) == Reply(text, (), ttl)


def test_a_soa_too_short_for_its_fields_tells_nothing() -> None:
    data = answer_to("a", authority=(r"example.org. 7 IN TYPE65280 \# 21 " + "01" * 21,))
    assert parse(data.replace(b"\xff\0\0\1", b"\0\6\0\1")) == Reply(NO_RECORDS, ())


def test_a_name_that_does_not_exist_has_no_answers_whatever_else_is_said() -> None:
    reply = parse(answer_to("cname", f"{NAME}. 20 IN CNAME x.example.org.", authority=(SOA,), rcode=3, flags="QR AD"), "cname")
    assert reply == Reply(NO_NAME, (), 20, authenticated=True)


@pytest.mark.parametrize("rcode", [1, 2, 4, 5])
def test_a_server_that_failed_before_reading_the_question_need_not_repeat_it(rcode: int) -> None:
    assert parse(struct.pack("!6H", ID, 0x8180 | rcode, 0, 0, 0, 0)) == Reply(RCODE_TEXTS[rcode], ())


# ------------------------------------------------------------------------------------------------------------ other replies


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0\0" + answer_to("a")[2:], id="another id"),
        pytest.param(answer_to("a", flags="RD"), id="a query, not a reply"),
        pytest.param(answer_to("a").replace(b"\x81\x80", b"\xa1\x80", 1), id="another opcode"),
        pytest.param(answer_to("a", name="other.example"), id="another name"),
        pytest.param(answer_to("a", name=f"x.{NAME}"), id="a longer name"),
        pytest.param(answer_to("aaaa"), id="another type"),
        pytest.param(answer_to("a").replace(b"\0\1\0\1", b"\0\1\0\3"), id="another class"),
        pytest.param(answer_to("a")[:4] + b"\0\2" + answer_to("a")[6:], id="two questions"),
        pytest.param(struct.pack("!6H", ID, 0x8180, 0, 0, 0, 0), id="no question, no error"),
        pytest.param(struct.pack("!6H", ID, 0x8183, 0, 0, 0, 0), id="no question, no such name"),
    ],
)
def test_what_does_not_answer_our_question_is_none(data: bytes) -> None:
    assert parse(data) is None


# -------------------------------------------------------------------------------------------------------- malformed replies

REPLIES = {
    "a": answer_to("a", f"{NAME}. 9 IN CNAME b.example.org.", "b.example.org. 9 IN A 192.0.2.1", authority=(SOA,)),
    "aaaa": answer_to("aaaa", f"{NAME}. 9 IN AAAA 2001:db8::1", authority=(SOA,)),
    "txt": answer_to("txt", f'{NAME}. 9 IN TXT "one" "two"', f'{NAME}. 9 IN TXT "three"', authority=(SOA,)),
    "spf": answer_to("spf", f'{NAME}. 9 IN SPF "v=spf1 -all"', authority=(SOA,)),
    "mx": answer_to("mx", f"{NAME}. 9 IN MX 5 a.example.org.", f"{NAME}. 9 IN MX 6 b.example.org.", authority=(SOA,)),
    "ptr": answer_to("ptr", f"{NAME}. 9 IN PTR a.b.example.org.", authority=(SOA,)),
    "soa": answer_to("soa", f"{NAME}. 9 IN SOA ns.example.org. a.example.org. 1 2 3 4 5", authority=(SOA,)),
    "srv": answer_to("srv", f"{NAME}. 9 IN SRV 1 2 25 a.example.org.", authority=(SOA,)),
    "tlsa": answer_to("tlsa", f"{NAME}. 9 IN TLSA 3 1 0 00ff00ff", authority=(SOA,)),
    "caa": answer_to("caa", f'{NAME}. 9 IN CAA 0 issue "ca.example"', authority=(SOA,)),
    "any": answer_to("any", f"{NAME}. 9 IN A 192.0.2.1", f'{NAME}. 9 IN HINFO "a" "b"', authority=(SOA,)),
}


def end_of_answers(data: bytes) -> int:
    parsed = dns.message.from_wire(data)
    parsed.authority.clear()
    return len(parsed.to_wire())


@pytest.mark.parametrize("kind", REPLIES)
def test_a_reply_cut_at_every_octet(kind: str) -> None:
    data, question = REPLIES[kind], encode_question(NAME, kind)
    whole = parse_reply(data, ID, question)
    assert whole is not None
    assert whole.answers
    end = end_of_answers(data)
    assert 12 + len(question) < end < len(data)
    for cut in range(len(data)):
        if cut < 12 or 12 + len(question) <= cut < end:
            with pytest.raises(ProtocolError):
                parse_reply(data[:cut], ID, question)
        elif cut < end:
            assert parse_reply(data[:cut], ID, question) is None
        else:
            assert parse_reply(data[:cut], ID, question) == whole


@pytest.mark.parametrize("rcode", [0, 3])
def test_a_negative_reply_cut_at_every_octet(rcode: int) -> None:
    data, question = answer_to("a", authority=(SOA,), rcode=rcode), encode_question(NAME)
    for cut in range(12 + len(question), len(data)):
        with pytest.raises(ProtocolError, match=r"malformed reply: it ends inside a record"):
            parse_reply(data[:cut], ID, question)


@pytest.mark.parametrize("kind", REPLIES)
def test_a_truncated_reply_keeps_the_records_that_are_whole(kind: str) -> None:
    data, question = REPLIES[kind], encode_question(NAME, kind)
    data = data[:2] + bytes([data[2] | 2]) + data[3:]
    whole = parse_reply(data, ID, question)
    assert whole is not None
    for cut in range(12 + len(question), len(data)):
        reply = parse_reply(data[:cut], ID, question)
        assert reply is not None
        assert reply.truncated
        assert reply.answers == whole.answers[: len(reply.answers)]
        assert (reply.error is None) == bool(reply.answers)


def test_a_pointer_to_itself_is_malformed() -> None:
    data = answer_to("ptr", f"{NAME}. 9 IN PTR a.")
    start = len(data) - 3
    looped = data[: start - 2] + b"\0\2" + struct.pack("!H", 0xC000 | start)
    with pytest.raises(ProtocolError, match=r"malformed reply: the compression pointer at octet .* does not lead backwards"):
        parse(looped, "ptr")


def test_more_answers_than_allowed_are_malformed() -> None:
    question = encode_question(NAME)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\x7f\0\0\1"
    most = struct.pack("!6H", ID, 0x8180, 1, MAX_RECORDS, 0, 0) + question + record * MAX_RECORDS
    reply = parse_reply(most, ID, question)
    assert reply is not None
    assert len(reply.answers) == MAX_RECORDS
    with pytest.raises(ProtocolError, match=f"malformed reply: {MAX_RECORDS + 1} answers, {MAX_RECORDS} are allowed"):
        parse_reply(most[:6] + struct.pack("!H", MAX_RECORDS + 1) + most[8:] + record, ID, question)


ONE_RECORD = {
    "a": "192.0.2.1",
    "aaaa": "2001:db8::1",
    "mx": "10 mx.example.org.",
    "ptr": "mail.example.org.",
    "txt": '"v=spf1 -all"',
    "soa": "ns.example.org. admin.example.org. 1 2 3 4 300",
}


@pytest.mark.parametrize("kind", list(ONE_RECORD))
def test_a_reply_with_one_record_is_read_as_every_other(kind: str) -> None:
    question = encode_question("mail.example.org", kind)
    for flags in ("QR RD RA", "QR AD"):
        line = f"mail.example.org. 300 IN {kind} {ONE_RECORD[kind]}"
        data = answer_to(kind, line, name="mail.example.org", flags=flags)
        reply = parse_reply(data, ID, question)
        assert reply is not None
        assert reply == codec._parse_any(data, ID, question)
        assert (reply.error, len(reply.answers), reply.ttl, reply.authenticated) == (None, 1, 300, "AD" in flags)
        for end in range(len(data)):
            assert outcome_of(parse_reply, data[:end], question) == outcome_of(codec._parse_any, data[:end], question)


@given(st.data(), st.sampled_from(list(ONE_RECORD)))
def test_however_it_is_spoilt_it_is_read_as_every_other(data: st.DataObject, kind: str) -> None:
    question = encode_question("mail.example.org", kind)
    wire = bytearray(answer_to(kind, f"mail.example.org. 300 IN {kind} {ONE_RECORD[kind]}", name="mail.example.org"))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    spoilt = bytes(wire)
    assert outcome_of(parse_reply, spoilt, question) == outcome_of(codec._parse_any, spoilt, question)


def test_an_address_of_another_length_is_malformed() -> None:
    data = answer_to("a", "mail.example.org. 300 IN A 192.0.2.1", name="mail.example.org")
    for length, octets in ((3, b"abc"), (5, b"abcde")):
        spoilt = data[:-6] + length.to_bytes(2, "big") + octets
        with pytest.raises(ProtocolError, match="malformed reply: it ends inside a record"):
            parse(spoilt, "a", "mail.example.org")


def outcome_of(read: Callable[[bytes, int, bytes], Reply | None], data: bytes, question: bytes) -> Reply | str | None:
    try:
        return read(data, ID, question)
    except ProtocolError as problem:
        return str(problem)


def test_a_message_without_a_whole_header_is_malformed() -> None:
    with pytest.raises(ProtocolError, match="a message of 11 octets is shorter than its header"):
        parse(b"\0" * 11)


@given(st.data(), st.sampled_from(sorted(REPLIES)))
def test_spoilt_replies_raise_only_protocol_errors(data: st.DataObject, kind: str) -> None:
    reply = bytearray(REPLIES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        reply[data.draw(st.integers(2, len(reply) - 1))] = data.draw(
            st.sampled_from([0, 1, 12, 63, 64, 192, 255]) | st.integers(0, 255)
        )
    try:
        parse(bytes(reply), kind)
    except ProtocolError:
        pass


@given(st.sampled_from(sorted(TYPES)), st.integers(0, 9), st.integers(0, 9), st.binary(max_size=120))
def test_random_octets_behind_a_fitting_head_raise_only_protocol_errors(
    kind: str, answers: int, authorities: int, body: bytes
) -> None:
    question = encode_question(NAME, kind)
    try:
        parse_reply(struct.pack("!6H", ID, 0x8180, 1, answers, authorities, 0) + question + body, ID, question)
    except ProtocolError:
        pass


@given(st.binary(max_size=80))
def test_random_octets_raise_only_protocol_errors(data: bytes) -> None:
    try:
        parse_reply(data, int.from_bytes(data[:2], "big"), encode_question(NAME))
    except ProtocolError:
        pass


# ------------------------------------------------------------------------------------------------------ dnspython as oracle

NAMES = st.lists(st.binary(min_size=1, max_size=12), max_size=5).map(lambda labels: dns.name.Name([*labels, b""]).to_text())
TEXTS = st.binary(max_size=40).map(lambda octets: '"' + "".join(f"\\{octet:03}" for octet in octets) + '"')
U8, U16, U32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))


def spaced(*fields: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return st.tuples(*fields).map(lambda values: " ".join(map(str, values)))


RDATA: dict[str, st.SearchStrategy[str]] = {
    "a": st.ip_addresses(v=4).map(str),
    "aaaa": st.ip_addresses(v=6).map(str),
    "ptr": NAMES,
    "ns": NAMES,
    "cname": NAMES,
    "txt": st.lists(TEXTS, min_size=1, max_size=3).map(" ".join),
    "spf": st.lists(TEXTS, min_size=1, max_size=3).map(" ".join),
    "mx": spaced(U16, NAMES),
    "soa": spaced(NAMES, NAMES, U32, U32, U32, U32, U32),
    "srv": spaced(U16, U16, U16, NAMES),
    "tlsa": spaced(U8, U8, st.sampled_from([0, 3, 255]), st.binary(min_size=1, max_size=40).map(bytes.hex)),
    "caa": spaced(U8, st.sampled_from(["issue", "iodef"]), TEXTS),
}


def understood(rdata: Any) -> object:
    """The value that a record parsed by dnspython must have here."""

    def plain(name: dns.name.Name) -> str:
        return name.to_text(omit_final_dot=True)

    match dns.rdatatype.to_text(rdata.rdtype):
        case "A":
            return rdata.address
        case "AAAA":
            return str(ipaddress.ip_address(rdata.address))
        case "PTR" | "NS" | "CNAME":
            return plain(rdata.target)
        case "TXT" | "SPF":
            return b"".join(rdata.strings).decode("latin-1")
        case "MX":
            return MxRecord(plain(rdata.exchange), rdata.preference)
        case "SOA":
            times = (rdata.refresh, rdata.retry, rdata.expire, rdata.minimum)
            return SoaRecord(plain(rdata.mname), plain(rdata.rname), rdata.serial, *times)
        case "SRV":
            return SrvRecord(plain(rdata.target), rdata.priority, rdata.weight, rdata.port)
        case "TLSA":
            return TlsaRecord(rdata.usage, rdata.selector, rdata.mtype, rdata.cert)
        case _:
            return CaaRecord(rdata.flags, rdata.tag.decode(), rdata.value.decode("latin-1"))


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A type and a reply to the question for it, with CNAMEs before the answers, compressed, with other sections behind."""
    kind = draw(st.sampled_from(sorted(RDATA)))
    owner = draw(NAMES)
    answers = [f"{owner} {draw(U32)} IN CNAME {draw(NAMES)}" for _ in range(draw(st.integers(0, 2)))]
    answers += [f"{owner} {draw(U32)} IN {kind} {draw(RDATA[kind])}" for _ in range(draw(st.integers(1, 4)))]
    authority = (SOA,) * draw(st.integers(0, 1))
    return kind, answer_to(kind, *answers, authority=authority, flags=draw(st.sampled_from(["QR", "QR AA RD RA AD"])))


@given(messages())
@example(("aaaa", answer_to("aaaa", f"{NAME}. 9 IN AAAA 2001:db8::1")))
def test_messages_are_understood_as_dnspython_does(message: tuple[str, bytes]) -> None:
    kind, data = message
    oracle = dns.message.from_wire(data, one_rr_per_rrset=True)
    wanted = dns.rdatatype.from_text(kind)
    reply = parse(data, kind)
    assert reply == Reply(
        error=None,
        answers=tuple(understood(rrset[0]) for rrset in oracle.answer if rrset.rdtype == wanted),
        ttl=min(rrset.ttl for rrset in oracle.answer),
        authenticated=bool(oracle.flags & dns.flags.AD),
    )


# -------------------------------------------------------------------------------------------------------- what is loaded


def test_replies_need_neither_dnspython_nor_idna() -> None:
    program = f"""
import sys
from filterd.proto.dns import encode_question, parse_reply
for kind, reply in {REPLIES!r}.items():
    assert parse_reply(reply, {ID}, encode_question({NAME!r}, kind)).answers
print(sorted({{"dns", "gevent", "idna"}} & set(sys.modules)))
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (finished.stdout, finished.stderr) == ("[]\n", "")


def test_all_that_is_promised_is_exported() -> None:
    assert all(hasattr(codec, name) for name in codec.__all__)
