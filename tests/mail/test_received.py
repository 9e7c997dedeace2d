"""Received fields as the usual MTAs write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.received import Received, parse_received

DATE = "; Tue, 1 Oct 2024 10:00:00 +0000 (UTC)"
NOBODY = dict.fromkeys(Received.__dataclass_fields__)


def hop(**facts: object) -> dict[str, object]:
    """What is not named is None, and there are no flags."""
    return {**NOBODY, "flags": frozenset(), **facts}


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        pytest.param(
            "from helo.example (mail.example.org [192.0.2.1]) (using TLSv1.3 with cipher X (256/256 bits)) (No client "
            "certificate requested) by mx.example.com (Postfix) with ESMTPS id 4ABC for <r@example.com>" + DATE,
            hop(
                from_hostname="helo.example",
                from_ip="192.0.2.1",
                real_hostname="mail.example.org",
                real_ip="192.0.2.1",
                by_hostname="mx.example.com",
                proto="esmtps",
                for_="r@example.com",
                timestamp=1727776800.0,
                flags={"ssl"},
            ),
            id="postfix",
        ),
        pytest.param(
            "from x (unknown [IPv6:2001:db8::1]) (Authenticated sender: u) by mx (Postfix) with ESMTPA id 1",
            hop(
                from_hostname="x",
                from_ip="2001:db8::1",
                real_ip="2001:db8::1",
                by_hostname="mx",
                proto="esmtpa",
                flags={"authenticated"},
            ),
            id="postfix-login",
        ),
        pytest.param(
            "from mail.example.org ([192.0.2.1]:4711 helo=said.example) by mx with esmtpsa (Exim 4.96) id 1tX-00-1",
            hop(
                from_hostname="said.example",
                from_ip="192.0.2.1",
                real_hostname="mail.example.org",
                real_ip="192.0.2.1",
                by_hostname="mx",
                proto="esmtpsa",
                flags={"ssl", "authenticated"},
            ),
            id="exim",
        ),
        pytest.param(
            "from [192.0.2.1] (helo=said.example) by mx with smtp",
            hop(from_hostname="said.example", from_ip="192.0.2.1", real_ip="192.0.2.1", by_hostname="mx", proto="smtp"),
            id="exim-no-name",
        ),
        pytest.param(
            "from said.example (user@mail.example.org [192.0.2.1] (may be forged)) by mx (8.17/8.17) with ESMTP",
            hop(
                from_hostname="said.example",
                from_ip="192.0.2.1",
                real_hostname="mail.example.org",
                real_ip="192.0.2.1",
                by_hostname="mx",
                proto="esmtp",
            ),
            id="sendmail",
        ),
        pytest.param(
            "from unknown (HELO said.example) (192.0.2.1) by 0 with SMTP; 1 Oct 2024 10:00:00 -0000",
            hop(
                from_hostname="said.example",
                from_ip="192.0.2.1",
                real_ip="192.0.2.1",
                by_hostname="0",
                proto="smtp",
                timestamp=1727776800.0,
            ),
            id="qmail",
        ),
        pytest.param("(qmail 123 invoked by uid 0); yesterday", hop(flags={"bad"}), id="qmail-local"),
        pytest.param(
            "from HOST.example (192.0.2.1) by MX.example. (192.0.2.2) with Microsoft SMTP Server (version=TLS1_2)",
            hop(
                from_hostname="HOST.example",
                from_ip="192.0.2.1",
                real_ip="192.0.2.1",
                by_hostname="MX.example",
                proto="microsoft",
                flags={"ssl"},
            ),
            id="exchange",
        ),
        pytest.param(
            "from mail.example.org ([::ffff:192.0.2.1]) (AUTH: LOGIN u) by mx with esmtp",
            hop(
                from_hostname="mail.example.org",
                from_ip="192.0.2.1",
                real_ip="192.0.2.1",
                by_hostname="mx",
                proto="esmtp",
                flags={"authenticated"},
            ),
            id="courier",
        ),
        pytest.param(
            "from dogma.example [192.0.2.1] by localhost with IMAP (fetchmail-5.9.0) for u@localhost (single-drop)",
            hop(
                from_hostname="dogma.example",
                from_ip="192.0.2.1",
                real_ip="192.0.2.1",
                by_hostname="localhost",
                proto="imap",
                for_="u@localhost",
            ),
            id="fetchmail",
        ),
        pytest.param(
            "from [198.51.100.1] (mail.example.org [192.0.2.1]) by mx with HTTPS",
            hop(
                from_hostname="[198.51.100.1]",
                from_ip="198.51.100.1",
                real_hostname="mail.example.org",
                real_ip="192.0.2.1",
                by_hostname="mx",
                proto="https",
                flags={"ssl"},
            ),
            id="claimed-address",
        ),
        pytest.param(
            "from a (b.example [999.0.0.1] [also none] 1.2.3 192.0.2.1) by mx via b with asmtp with lmtps for <>)",
            hop(
                from_hostname="a",
                from_ip="192.0.2.1",
                real_hostname="b.example",
                real_ip="192.0.2.1",
                by_hostname="mx",
                proto="asmtp",
                flags={"authenticated"},
            ),
            id="no-address-first",
        ),
        pytest.param("from a by 192.0.2.1", hop(from_hostname="a"), id="by-address"),
        pytest.param("", hop(flags={"bad"}), id="empty"),
        pytest.param('\\; "from;" ((()', hop(flags={"bad"}), id="rubbish"),
    ],
)
def test_hops(value: str, facts: dict[str, object]) -> None:
    received = parse_received(value)
    assert {name: getattr(received, name) for name in NOBODY} == facts


def test_only_the_first_2_ki_characters_are_read() -> None:
    assert parse_received("from a " + "(x) " * 600 + "by mx").by_hostname is None


@given(
    st.lists(st.sampled_from(["from", "by", "with", "(", ")", ";", "[", "]", "1.2.3.4", "::1", '"', "\\", "helo=", "a", " "]))
)
def test_anything_is_read_somehow(pieces: list[str]) -> None:
    for joined in (" ".join(pieces), "".join(pieces)):
        received = parse_received(joined)
        assert received.from_ip is not None or received.real_ip is None
