"""Header sanity: what every honest mail program writes, and what forgers forget, repeat or malform.

The names are those Rspamd's users know. Scores: conf/scores.toml.
"""

import re
from datetime import UTC, datetime, timedelta

from filterd import Task, rule

# RFC 5322 3.6: these may occur once at most.
ONCE = ("Date", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject")

# RFC 5322 3.6.4, as tolerant as real programs need: something, an @, something, and no blanks or further brackets.
MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")

FUTURE = timedelta(days=1)
PAST = timedelta(days=7)


@rule("MISSING_DATE", group="headers", description="No Date header")
def missing_date(task: Task) -> bool:
    return not task.message.has_header("Date")


@rule("MISSING_FROM", group="headers", description="No From header, or an empty one")
def missing_from(task: Task) -> bool:
    return not (task.message.header("From") or "").strip()


@rule("MISSING_SUBJECT", group="headers", description="No Subject header")
def missing_subject(task: Task) -> bool:
    return not task.message.has_header("Subject")


@rule("MISSING_MID", group="headers", description="No Message-ID header")
def missing_message_id(task: Task) -> bool:
    return not task.message.has_header("Message-ID")


@rule("MULTIPLE_UNIQUE_HEADERS", group="headers", description="A header that may occur once is repeated")
def repeated_headers(task: Task) -> tuple[object, ...] | None:
    repeated = [name for name in ONCE if len(task.message.headers(name)) > 1]
    return (len(repeated), *repeated) if repeated else None


@rule("INVALID_MSGID", group="headers", description="The Message-ID is not of the form <left@right>")
def invalid_message_id(task: Task) -> bool:
    written = task.message.header_raw("Message-ID")
    return written is not None and not MESSAGE_ID.fullmatch(written.strip())


@rule("FROM_INVALID", group="headers", description="The From header has no usable address")
def invalid_from(task: Task) -> bool:
    written = (task.message.header("From") or "").strip()
    return bool(written) and not any(sender.domain and "." in sender.domain for sender in task.message.from_)


@rule("MULTIPLE_FROM", group="headers", description="The From header has several addresses")
def several_senders(task: Task) -> tuple[object, ...] | None:
    senders = task.message.from_
    return (True, *senders[:5]) if len(senders) > 1 else None


@rule("INVALID_DATE", group="headers", description="The Date header cannot be read")
def invalid_date(task: Task) -> bool:
    return task.message.has_header("Date") and task.message.date is None


@rule("DATE_IN_FUTURE", group="headers", description="The Date header is more than a day ahead")
def date_in_future(task: Task) -> bool:
    date = task.message.date
    return date is not None and _aware(date) - datetime.now(UTC) > FUTURE


@rule("DATE_IN_PAST", group="headers", description="The Date header is more than a week ago")
def date_in_past(task: Task) -> bool:
    date = task.message.date
    return date is not None and datetime.now(UTC) - _aware(date) > PAST


@rule("SPOOF_DISPLAY_NAME", group="headers", description="The sender's display name is somebody else's address")
def address_as_name(task: Task) -> tuple[object, ...] | None:
    # "boss@example.com" <somebody@evil.example>: most programs show the name only.
    for sender in task.message.from_:
        shown = re.search(r"[^\s<>\"']+@([\w-]+(?:\.[\w-]+)+)", sender.name or "")
        if shown and shown[1].lower() != sender.domain:
            return True, shown[0], sender
    return None


def _aware(date: datetime) -> datetime:
    return date if date.tzinfo else date.replace(tzinfo=UTC)
