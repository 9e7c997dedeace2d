"""Verdicts as an MTA is told to carry them out, and the message it then has."""

from typing import Any

import pytest

from filterd.mail.edits import delivered
from filterd.mail.verdict import Verdict
from filterd.proto.milter_options import Actions, Negotiate, Terms, agree
from filterd.proto.milter_replies import (
    Accept,
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    DeleteRecipient,
    Discard,
    InsertHeader,
    Quarantine,
    ReplaceBody,
    Reply,
    ReplyCode,
    reply_code,
)
from filterd.proto.milter_verdict import Answer, Texts, answer, try_later

FULL = agree(Negotiate(6, 0x1FF, 0xFF080))
NAMES = [b"from", b"x-old", b"subject", b"x-old", b"x-spam", b"x-old"]


def verdict_of(action: str = "no action", **fields: Any) -> Verdict:
    return Verdict(action, 1.0, 15.0, **fields)


def answered(
    action: str = "no action",
    *,
    names: list[bytes] | None = None,
    terms: Terms = FULL,
    texts: Texts | None = None,
    **fields: Any,
) -> Answer:
    return answer(verdict_of(action, **fields), NAMES if names is None else names, terms, texts or Texts())


def replies(action: str = "no action", **keywords: Any) -> list[Reply]:
    made = answered(action, **keywords)
    assert made.undone == []
    return made.replies


# -- what decides


@pytest.mark.parametrize("action", ["no action", "greylist", "review"])
def test_what_is_not_to_be_stopped_is_accepted_as_it_is(action: str) -> None:
    assert replies(action) == [Accept()]


@pytest.mark.parametrize(
    ("action", "message", "reply"),
    [
        ("reject", {}, ReplyCode("554", "5.7.1", ("Spam message rejected",))),
        ("reject", {"smtp_message": "Gtube pattern"}, ReplyCode("554", "5.7.1", ("Gtube pattern",))),
        ("reject", {"smtp_message": ""}, ReplyCode("554", "5.7.1", ("Spam message rejected",))),
        ("soft reject", {}, ReplyCode("451", "4.7.1", ("Try again later",))),
        ("soft reject", {"smtp_message": "Wait\nand see"}, ReplyCode("451", "4.7.1", ("Wait", "and see"))),
    ],
)
def test_what_is_refused_is_refused_in_the_rules_words_or_ours(action: str, message: dict[str, str], reply: Reply) -> None:
    edits = {"add_headers": {"X-A": "1"}, "change_from": "a@b"}
    assert replies(action, messages=message, milter=edits, body=b"new") == [reply]


def test_the_administrator_chooses_the_texts() -> None:
    texts = Texts(reject="No spam", tempfail="Later", quarantine="Kept", spam_header="X-Junk")
    assert replies("reject", texts=texts) == [reply_code("554", "5.7.1", "No spam")]
    assert replies("soft reject", texts=texts) == [reply_code("451", "4.7.1", "Later")]
    assert replies("quarantine", texts=texts) == [Quarantine(b"Kept"), Accept()]
    assert replies("add header", texts=texts) == [AddHeader(b"X-Junk", b"Yes"), Accept()]
    assert try_later(texts) == reply_code("451", "4.7.1", "Later")
    assert try_later(texts, "Now not") == reply_code("451", "4.7.1", "Now not")


@pytest.mark.parametrize(
    ("action", "fields", "texts", "decides"),
    [
        ("discard", {}, Texts(), [Discard()]),
        ("drop", {"milter_action": "discard"}, Texts(), [Discard()]),
        ("hold", {"milter_action": "quarantine"}, Texts(), [Quarantine(b"Spam message quarantined"), Accept()]),
        ("reject", {"milter": {"reject": "discard"}}, Texts(), [Discard()]),
        ("reject", {"milter": {"reject": "quarantine"}}, Texts(), [Quarantine(b"Spam message quarantined"), Accept()]),
        ("reject", {"milter": {"reject": "other"}}, Texts(), [reply_code("554", "5.7.1", "Spam message rejected")]),
        ("reject", {}, Texts(discard_rejected=True), [Discard()]),
        ("reject", {}, Texts(quarantine_rejected=True), [Quarantine(b"Spam message quarantined"), Accept()]),
        ("reject", {"milter": {"reject": "quarantine"}}, Texts(discard_rejected=True), None),
        ("soft reject", {"milter": {"reject": "discard"}}, Texts(), [try_later(Texts())]),
        ("no action", {"milter": {"reject": "discard"}}, Texts(discard_rejected=True), [Accept()]),
    ],
)
def test_what_is_not_told_to_the_sender_is_dropped_or_held(
    action: str, fields: dict[str, Any], texts: Texts, decides: list[Reply] | None
) -> None:
    expected = decides if decides is not None else [Quarantine(b"Spam message quarantined"), Accept()]
    assert replies(action, texts=texts, **fields) == expected


def test_what_is_held_has_its_headers_and_a_reason_in_one_line() -> None:
    made = replies("quarantine", messages={"smtp_message": "held\nfor Jürgen"}, milter={"add_headers": {"X-A": "1"}})
    assert made == [AddHeader(b"X-A", b"1"), Quarantine(b"held for J?rgen"), Accept()]


def test_no_action_leaves_a_note_and_lets_the_message_pass() -> None:
    made = replies("reject", milter={"no_action": True, "add_headers": {"X-A": "1"}})
    assert made == [AddHeader(b"X-A", b"1"), AddHeader(b"X-Rspamd-Action", b"reject"), Accept()]
    assert replies("reject", milter={"no_action": False}) == [reply_code("554", "5.7.1", "Spam message rejected")]


def test_one_answer_knows_nothing_of_the_one_before() -> None:
    """With Rspamd these flags stick to the connection."""
    replies("reject", milter={"no_action": True, "reject": "discard"})
    assert replies("reject") == [reply_code("554", "5.7.1", "Spam message rejected")]


# -- marks and subjects


def test_spam_is_marked_and_the_senders_own_mark_removed() -> None:
    assert replies("add header") == [ChangeHeader(1, b"X-Spam", b""), AddHeader(b"X-Spam", b"Yes"), Accept()]
    assert replies("add header", names=[]) == [AddHeader(b"X-Spam", b"Yes"), Accept()]


@pytest.mark.parametrize(
    ("mark", "headers"),
    [
        ("Probably", [AddHeader(b"X-Spam", b"Probably")]),
        ({"X-Mark": "a", "X-More": {"value": "b", "order": 0}}, [AddHeader(b"X-Mark", b"a"), InsertHeader(0, b"X-More", b"b")]),
    ],
)
def test_the_rule_may_choose_the_mark(mark: object, headers: list[Reply]) -> None:
    assert replies("add header", names=[], milter={"spam_header": mark}) == [*headers, Accept()]


def test_a_subject_is_changed_where_there_is_one_and_added_where_not() -> None:
    subject = "*** SPAM *** hi"
    assert replies("rewrite subject", subject=subject) == [ChangeHeader(1, b"Subject", subject.encode()), Accept()]
    assert replies("rewrite subject", subject=subject, names=[]) == [AddHeader(b"Subject", subject.encode()), Accept()]
    removed = {"remove_headers": {"Subject": 0}}
    assert replies("rewrite subject", subject=subject, milter=removed)[-2:] == [
        AddHeader(b"Subject", subject.encode()),
        Accept(),
    ]


def test_an_empty_subject_does_not_remove_it() -> None:
    assert replies("rewrite subject", subject="")[0] == ChangeHeader(1, b"Subject", b" ")


# -- headers


@pytest.mark.parametrize(
    ("places", "removed"),
    [
        (0, [3, 2, 1]),
        (1, [1]),
        (-1, [3]),
        (-3, [1]),
        (4, []),
        (-4, []),
        ([1, -1], [3, 1]),
        ([1, 1, -3], [1]),
        ([2, 0], [3, 2, 1]),
        ("x", []),
        (None, []),
        (1.0, [1]),
    ],
)
def test_places_of_removed_headers_count_in_the_message_as_it_came(places: object, removed: list[int]) -> None:
    made = replies(milter={"remove_headers": {"X-Old": places, "X-Never": 0}})
    assert made == [*(ChangeHeader(number, b"X-Old", b"") for number in removed), Accept()]


def test_thousands_of_headers_are_removed_at_once() -> None:
    made = replies("add header", names=[b"x-spam"] * 10_000)
    assert made == [
        *(ChangeHeader(number, b"X-Spam", b"") for number in range(10_000, 0, -1)),
        AddHeader(b"X-Spam", b"Yes"),
        Accept(),
    ]


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ("v", AddHeader(b"X-A", b"v")),
        ({"value": "v"}, AddHeader(b"X-A", b"v")),
        ({"value": "v", "order": -1}, AddHeader(b"X-A", b"v")),
        ({"value": "v", "order": "first"}, AddHeader(b"X-A", b"v")),
        ({"value": "v", "order": 0}, InsertHeader(0, b"X-A", b"v")),
        ({"value": "v", "order": 1}, InsertHeader(1, b"X-A", b"v")),
        ({"value": "v", "order": 7}, AddHeader(b"X-A", b"v")),
        ({"value": "v", "order": 10**6}, AddHeader(b"X-A", b"v")),
        ({"value": "v", "order": -2}, InsertHeader(6, b"X-A", b"v")),
        ({"value": "v", "order": -1000}, InsertHeader(0, b"X-A", b"v")),
        ({"order": 0}, InsertHeader(0, b"X-A", b"")),
        (5, AddHeader(b"X-A", b"5")),
    ],
)
def test_a_header_comes_to_its_place_with_the_mtas_own_above_all(value: object, reply: Reply) -> None:
    assert replies(milter={"add_headers": {"X-A": value}}) == [reply, Accept()]


def test_removals_come_first_and_places_from_the_end_count_what_is_then_there() -> None:
    made = replies(
        milter={
            "add_headers": {"X-A": {"value": "a", "order": -2}, "X-B": ["b", {"value": "c", "order": -2}]},
            "remove_headers": {"X-Old": 0},
        }
    )
    assert made[:3] == [ChangeHeader(number, b"X-Old", b"") for number in (3, 2, 1)]
    assert made[3:] == [
        InsertHeader(3, b"X-A", b"a"),  # of three left, and the MTA's own
        AddHeader(b"X-B", b"b"),
        InsertHeader(5, b"X-B", b"c"),
        Accept(),
    ]


def test_a_header_behind_one_of_its_name_is_put_there_by_place() -> None:
    """Sendmail adds it above the other."""
    made = replies(milter={"add_headers": {"X-Old": "new", "X-A": ["1", "2"]}})
    assert made == [
        InsertHeader(1_000_000, b"X-Old", b"new"),
        AddHeader(b"X-A", b"1"),
        InsertHeader(1_000_000, b"X-A", b"2"),
        Accept(),
    ]


def test_values_cannot_break_out_and_folds_stay_folds() -> None:
    made = replies(milter={"add_headers": {"X-A": "a\r\n b\n\nX-Evil: c\0", "X: B\n": "v", "X-Ü": "ü", "X-C": "   "}})
    assert made == [
        AddHeader(b"X-A", b"a\n b\n X-Evil: c"),
        AddHeader(b"XB", b"v"),
        AddHeader("X-Ü".encode(), "ü".encode()),
        AddHeader(b"X-C", b""),
        Accept(),
    ]


def test_an_mta_that_keeps_the_blank_behind_the_colon_is_given_one() -> None:
    terms = agree(Negotiate(6, 0x1FF, 0x1FFFFF))
    made = replies(
        "rewrite subject", terms=terms, subject="s", milter={"add_headers": {"X-A": "v"}, "remove_headers": {"From": 1}}
    )
    assert made == [ChangeHeader(1, b"From", b""), AddHeader(b"X-A", b" v"), ChangeHeader(1, b"Subject", b" s"), Accept()]


@pytest.mark.parametrize("name", [": ", "X-Long"])
def test_what_is_no_header_is_left_out_and_told(name: str) -> None:
    made = answered(milter={"add_headers": {name: "x" * 60_000}})
    assert made.replies == [Accept()]
    assert made.undone == [f"{name!r} is no header, or one of more than 60000 bytes"]


# -- envelope and body


def test_sender_and_recipients_change_in_this_order() -> None:
    made = replies(
        milter={
            "del_rcpt": ["<b@example.net>", "c@example.net"],
            "add_rcpt": ["d@example.net", "<e@example.net> NOTIFY=NEVER"],
            "change_from": "a@example.org RET=HDRS",
        }
    )
    assert made == [
        ChangeSender(b"<a@example.org>", b"RET=HDRS"),
        AddRecipient(b"<d@example.net>"),
        AddRecipient(b"<e@example.net>", b"NOTIFY=NEVER"),
        DeleteRecipient(b"<b@example.net>"),
        DeleteRecipient(b"<c@example.net>"),
        Accept(),
    ]


@pytest.mark.parametrize(
    ("sender", "reply"),
    [
        ("<a@b> RET=HDRS", ChangeSender(b"<a@b>", b"RET=HDRS")),
        ("", ChangeSender(b"<>")),
        ("<>", ChangeSender(b"<>")),
        ("<a@b", ChangeSender(b"<a@b>")),
        ("a@b\r\n\0c", ChangeSender(b"<a@b>", b"c")),
        ('<"a>b"@c>', ChangeSender(b'<"a>b"@c>')),
        (["<a@b>", "<c@d>"], ChangeSender(b"<a@b>")),
    ],
)
def test_a_path_stays_in_its_angles(sender: object, reply: Reply) -> None:
    assert replies(milter={"change_from": sender}) == [reply, Accept()]


def test_a_body_is_replaced_in_pieces_with_network_line_ends() -> None:
    made = replies(body=b"a\nb\r\n" + b"x" * 65535)
    assert made == [ReplaceBody(b"a\r\nb\r\n" + b"x" * 65529), ReplaceBody(b"x" * 6), Accept()]


def test_a_body_may_become_empty() -> None:
    assert replies(body=b"") == [ReplaceBody(b""), Accept()]


def test_nonsense_in_the_reply_object_is_passed_over() -> None:
    made = replies(milter={"add_headers": "X-A: b", "remove_headers": ["X-Old"], "change_from": None, "add_rcpt": None})
    assert made == [Accept()]


# -- what the MTA does not let us do


EVERYTHING = {
    "add_headers": {"X-A": "v"},
    "remove_headers": {"X-Old": 0},
    "change_from": "<a@b>",
    "add_rcpt": ["<c@d>"],
    "del_rcpt": ["<e@f>"],
}


def test_what_cannot_be_done_is_left_out_and_told() -> None:
    made = answered("rewrite subject", terms=agree(Negotiate(6, 0, 0)), subject="s", body=b"x" * 100_000, milter=EVERYTHING)
    assert made.replies == [Accept()]
    assert made.undone == [
        "X-Old cannot be removed",
        "X-A cannot be added",
        "the sender cannot be changed",
        "recipients cannot be added",
        "recipients cannot be deleted",
        "the body cannot be replaced",
        "Subject cannot be changed",
    ]


def test_parameters_of_a_recipient_are_left_out_where_they_cannot_be_said() -> None:
    made = answered(terms=agree(Negotiate(6, int(Actions.ADD_RECIPIENTS), 0)), milter={"add_rcpt": ["<a@b> NOTIFY=NEVER"]})
    assert made.replies == [AddRecipient(b"<a@b>"), Accept()]
    assert made.undone == ["recipients cannot be added with parameters, these were left out"]


@pytest.mark.parametrize(("action", "fields"), [("quarantine", {}), ("hold", {"milter_action": "quarantine"})])
def test_what_cannot_be_held_is_not_delivered(action: str, fields: dict[str, Any]) -> None:
    made = answered(action, terms=agree(Negotiate(6, 0x1F, 0)), **fields)
    assert made.replies == [reply_code("451", "4.7.1", "Try again later")]
    assert made.undone == ["the message cannot be quarantined, it was refused for now"]


def test_a_name_of_nothing_that_can_be_printed_is_no_header() -> None:
    assert replies(names=[b"", b"x"], milter={"remove_headers": {"\x9a": 0, ":": [1, -1]}}) == [Accept()]


def test_what_is_longer_than_an_mta_reads_is_left_out_and_told() -> None:
    long = "x" * 70_000
    assert answered("quarantine", messages={"smtp_message": long}).replies == [Quarantine(b"x" * 480), Accept()]
    reply = {"change_from": long, "add_rcpt": [long, "a@b"], "del_rcpt": long}
    made = answered("rewrite subject", milter=reply, subject=long)
    assert made.replies == [AddRecipient(b"<a@b>"), Accept()]
    assert made.undone == [
        "the sender cannot be changed: it is longer than 65535 bytes",
        "recipients cannot be added: it is longer than 65535 bytes",
        "recipients cannot be deleted: it is longer than 65535 bytes",
        "Subject cannot be changed: it is longer than 65535 bytes",
    ]


# -- the same as the CLI makes of it


class Mta:
    """What an MTA makes of a message by replies, one field a line."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.fields = [b"Received: own", *head.split(b"\r\n")]

    def named(self, name: bytes) -> list[int]:
        return [place for place, one in enumerate(self.fields) if place and one.split(b":")[0].lower() == name.lower()]

    def apply(self, reply: Reply) -> None:
        match reply:
            case AddHeader(name, value):
                self.fields.append(name + b": " + value)
            case InsertHeader(index, name, value):
                self.fields.insert(index, name + b": " + value)
            case ChangeHeader(index, name, b""):
                del self.fields[self.named(name)[index - 1]]
            case ChangeHeader(index, name, value):
                self.fields[self.named(name)[index - 1]] = name + b": " + value

    @property
    def raw(self) -> bytes:
        return b"\r\n".join(self.fields[1:]) + b"\r\n\r\n" + self.body


RAW = b"From: a\r\nX-Old: 1\r\nSubject: s\r\nX-Old: 2\r\nX-Spam: No\r\nX-Old: 3\r\n\r\nHi\r\n"


@pytest.mark.parametrize(
    "verdict",
    [
        verdict_of(),
        verdict_of("add header"),
        verdict_of("add header", milter={"spam_header": "Maybe"}),
        verdict_of("rewrite subject", subject="SPAM s"),
        verdict_of(milter={"remove_headers": {"X-Old": [1, -1]}, "add_headers": {"X-A": ["1", "2"]}}),
        verdict_of(milter={"remove_headers": {"X-Old": -2}, "add_headers": {"X-A": {"value": "v", "order": -1}}}),
        verdict_of(milter={"remove_headers": {"X-Old": 0, "From": 1}, "add_headers": {"X-A": {"value": "v", "order": -3}}}),
        verdict_of(milter={"add_headers": {"X-Old": "4", "X-A": {"value": "v", "order": -2}, "X-B": "b"}}),
    ],
)
def test_the_mta_then_has_what_scan_mime_prints(verdict: Verdict) -> None:
    mta = Mta(RAW)
    names = [field.split(b":")[0].lower() for field in mta.fields[1:]]
    for reply in answer(verdict, names, FULL, Texts()).replies:
        mta.apply(reply)
    assert mta.raw == delivered(RAW, verdict)
