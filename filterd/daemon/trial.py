"""What a new worker does before it accepts mail: judge one message.

Promises: without a message of the administrator's own none of his rules is run, so that nothing is counted, asked or learnt
because filterd was started; with one, all are, and a rule that raises an exception is a reason not to begin.
"""

from pathlib import Path

from filterd.daemon.assembly import Assembly
from filterd.engine.scheduler import Engine
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest

__all__ = ["try_out"]

SAMPLE = b"""\
From: trial@example.org
To: trial@example.org
Subject: Does it work?
Date: Thu, 01 Jan 2026 00:00:00 +0000
Message-ID: <trial@example.org>

One message, judged before all others.
"""


def try_out(assembly: Assembly, mail: Path | None) -> list[str]:
    """Judge the message, else one of our own; what is wrong."""
    engine, raw = assembly.engine, SAMPLE
    if mail is None:
        engine = Engine((), assembly.environment, composites=engine.composites, compiler=engine.compiler)
    else:
        try:
            raw = mail.read_bytes()
        except OSError as error:
            return [f"workers.trial_mail: {mail} cannot be read: {error.strerror}"]
    verdict = engine.scan(ScanRequest(Message(raw), Envelope({}), "trial"))
    # A service that does not answer now may do so later; a mistake in a rule stays one.
    return [f"on the trial message {failure}" for failure in verdict.failures if failure.kind == "exception"]
