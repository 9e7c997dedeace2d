"""Targets: requests and replies of SpamAssassin's and Rspamd's older protocols, and a hostile verdict in every dialect."""

import json
from contextlib import suppress
from math import isfinite

from filterd.mail.envelope import Envelope
from filterd.mail.headers import Headers, find_header_end
from filterd.mail.verdict import Hit, RuleFailure, Verdict
from filterd.proto import dialect, history, rspamc_reply, rspamd, spamc, spamc_reply
from tests.fuzz.target import Target, in_pieces, pieces

__all__ = ["TARGETS"]

_REQUESTS = (
    b"CHECK SPAMC/1.5\r\nContent-length: 5\r\nUser: doe\r\n\r\nhello",
    b"PROCESS SPAMC/1.2\nUser: x\n\nSubject: a\n\nbody",
    b"PING SPAMC/1.2\r\n",
    b"PING SPAMC/1.5\r\n\r\n",
    b"CHECK RSPAMC/1.3\r\nContent-length: 3\r\nFrom: <a@b>\r\nRecipient: <c@d>\r\nIP: 192.0.2.1\r\n\r\nabc",
    b"SYMBOLS SPAMC/1.3\r\nContent-length: 2\r\n\r\nhi\r\n",
    b"SKIP SPAMC/1.5\r\n",
    b"TELL SPAMC/1.5\r\nMessage-class: spam\r\nSet: local\r\nContent-length: 0\r\n\r\n",
)
_WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\n\n",
        b"Content-length: ",
        b"CHECK ",
        b"SPAMC/",
        b"RSPAMC/",
        b"1.5",
        b"PING ",
        b"PROCESS ",
        b"0",
        b"5",
    ),
    *(b": ", b"X: y\r\n", b" ", b"_"),
)
_FED = in_pieces(lambda: spamc.RequestParser(max_body=4000, max_headers=50, max_header_bytes=4000), spamc.ProtocolError)


def _request(data: bytes) -> object:
    outcome = _FED(data)
    excesses = []
    for parts in ([data], list(pieces(data))):
        fed = spamc.RequestParser(max_body=4000, max_headers=50, max_header_bytes=4000)
        with suppress(spamc.ProtocolError):
            for part in filter(None, parts):
                fed.feed(part)
        excesses.append(fed.has_excess)
    assert excesses[0] == excesses[1]
    parser = spamc.RequestParser(max_body=4000, max_headers=50, max_header_bytes=4000)
    try:
        for part in [*pieces(data), b""]:
            request = parser.feed(part)
            if request is not None:
                assert request.verb in spamc.VERBS[request.dialect]
                assert len(request.body) <= 4000
                assert request.body in data
                Envelope(request.headers).flags  # noqa: B018
                if request.header("content-length"):
                    assert request.verb in ("PING", "SKIP") or len(request.body) == int(request.header("content-length"))
    except spamc.ProtocolError as error:
        assert error.code in (65, 76)
        for render in (spamc_reply.render_failure, rspamc_reply.render_failure):
            assert render(error.code, str(error)).count(b"\n") == 1
    return outcome


def _dialect(data: bytes) -> object:
    known = [dialect.dialect(data[:size]) for size in range(min(len(data), 64) + 1)]
    decided = [one for one in known if one is not None]
    # What was said once holds.
    assert len(set(decided)) <= 1, decided
    assert known[len(known) - len(decided) :] == decided
    assert len(data) < dialect.ENOUGH or known[dialect.ENOUGH] is not None
    assert not decided or dialect.dialect(data) == decided[0]
    return known[-1]


# ------------------------------------------------------------------------------------------------------------- one verdict

_ACTIONS = ("add header", "no action", "rewrite subject", "reject", "soft reject", "quarantine", "discard", "greylist", "own")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(len(text))


def _verdict_of(data: bytes) -> Verdict:
    """Lines `name|score|option|description`; the first is the verdict's own. Any text may be in any place."""
    lines = [line.split("|") for line in data.decode("utf-8", "surrogateescape").split("\0")]
    first = [*lines[0], "", "", "", ""]
    symbols = {}
    for line in lines[1:]:
        name, score, option, description = [*line, "", "", ""][:4]
        symbols[name] = Hit(
            name, _number(score), _number(option), 1.0, (option,) if option else (), description or None, (option,)
        )
    return Verdict(
        first[0] if first[0] in _ACTIONS else _ACTIONS[len(data) % len(_ACTIONS)] if len(data) % 4 else first[0],
        _number(first[1]),
        None if not first[2] else _number(first[2]),
        {"add header": _number(first[3])} if first[3] else {},
        symbols,
        tuple(RuleFailure(one.name, "bug", one.name, elapsed=one.score) for one in list(symbols.values())[:2]),
        {"smtp_message": first[4]} if first[4] else {},
        {"x": first[1], first[2]: [first[3], {first[0]: first[4]}]} if len(data) % 2 else {},
        message_id=first[2] or None,
        subject=first[3] or None,
        log_fields={},
    )


def _ends_of(reply: bytes) -> int:
    return reply.count(b"\n")


def _replies(data: bytes) -> object:
    verdict = _verdict_of(data)
    message = data.partition(b"\0")[2]
    for verb in ("CHECK", "SYMBOLS", "REPORT", "REPORT_IFSPAM"):
        for version in ((1, 2), (1, 5)):
            _spamc(spamc_reply.render_verdict(verb, version, verdict, message), verdict)
    whole = spamc_reply.render_verdict("PROCESS", (1, 5), verdict, message)
    _spamc(whole, verdict)
    _marked(whole.partition(b"\r\n\r\n")[2], message, verdict)
    _spamc(spamc_reply.render_verdict("HEADERS", (1, 5), verdict, message), verdict)
    rspamc = rspamc_reply.render_verdict(verdict)
    # Beside the lines that are always there: subject, symbols, messages, failures, message id.
    told = (verdict.subject is not None) + len(verdict.symbols) + len(verdict.messages) + len(verdict.failures)
    assert _ends_of(rspamc) == rspamc.count(b"\r\n") == 3 + told + (verdict.message_id is not None)
    flags = {"groups", "profile", "ext_urls"}
    for reply in (rspamd.render_verdict(verdict, flags=flags), rspamd.render_old_verdict(verdict, flags=flags)):
        read = json.loads(reply)
        assert all(isinstance(value, str) for value in read["messages"].values())
        reply.decode()
    row = history.render_row(
        history.Judged(
            1.0, message[:1000], len(message), Envelope({}), "scan", verdict.action, verdict.score, verdict.required_score,
            False, False, verdict.symbols, verdict.failures, {}, 1.0, "x", verdict.message_id,
        )
    )  # fmt: skip
    assert json.loads(history.render_rows([row, row]))["version"] == 2
    return verdict.is_spam, verdict.action in _ACTIONS, isfinite(verdict.score), min(len(verdict.symbols), 3)


def _spamc(reply: bytes, verdict: Verdict) -> None:
    head, end, body = reply.partition(b"\r\n\r\n")
    assert end
    lines = head.split(b"\r\n")
    assert lines[0] in (b"SPAMD/1.0 0 EX_OK", b"SPAMD/1.1 0 EX_OK")
    assert len(lines) <= 3
    assert b"\n" not in b"".join(lines)
    for line in lines[1:]:
        name, _, value = line.partition(b": ")
        if name == b"Content-length":
            assert int(value) == len(body)
        else:
            assert name == b"Spam"
            word, numbers = value.split(b" ; ")
            score, threshold = map(float, numbers.split(b" / "))
            assert (word == b"True") == verdict.is_spam == (score >= threshold), line


def _marked(made: bytes, message: bytes, verdict: Verdict) -> None:
    end = find_header_end(made, 0, len(made))
    names = [field.name.lower() for field in Headers(made[: end.fields])]
    marks = [
        name for name in names if name.startswith("x-spam-") and name[7:] in ("flag", "level", "status", "action", "score")
    ]
    expected = ["x-spam-status", "x-spam-action"]
    assert [name for name in marks if name in expected] == expected, marks
    assert ("x-spam-flag" in marks) == verdict.is_spam
    body = message[find_header_end(message, 0, len(message)).body :]
    assert made.endswith(body)


TARGETS = (
    Target("spamc", _request, _REQUESTS, _WORDS, largest=16 * 1024),
    Target(
        "dialect",
        _dialect,
        (
            *_REQUESTS,
            b"POST /checkv2",
            b"PRI * HTTP/2.0",
            b"\0\0\0\x0dO",
            b"EHLO x",
            b"\x16\x03\x01",
            b"PROXY TCP4",
            b"get  spamc/",
        ),
        (b" ", b"SPAMC/", b"R", b"PROXY ", b"\r\n", b"A", b"_"),
        largest=128,
    ),
    Target(
        "replies",
        _replies,
        (
            b"add header|7.5|15|6|no\0A|5.5|o|d\0B|2|p|\0",
            b"reject|nan|inf|-inf|x\0Subject: a\r\nX-Spam-Flag: YES\r\n\r\nbody",
            b"own|5.999|6|6.0|\n\0\n.\n|1e308|\r\nX: y\r\n|\xff\xed\xa0\x80",
            b"soft reject|1|2|3|\xe2\x80\xa8\0a|b|c|d\0From x\nA: b\n\nc",
        ),
        (
            b"|",
            b"\0",
            b"\r\n",
            b"\n",
            b"nan",
            b"inf",
            b"-1e400",
            b"5.995",
            b"\xe2\x80\xa8",
            b"\xff",
            b"X-Spam-Status: No\n",
            b"\n\n",
        ),
        largest=16 * 1024,
    ),
)
