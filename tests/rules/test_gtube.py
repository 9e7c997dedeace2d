"""The test message for spam filters is rejected, wherever its text stands."""

import base64
from pathlib import Path

import pytest

from filterd.mail.envelope import Envelope
from tests.support.rules import mail, verdict_of

TEXT = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
ENCODED = "Content-Transfer-Encoding: base64"


@pytest.mark.parametrize(
    "raw",
    [
        mail(body=f"{TEXT}\n"),
        mail("Content-Type: text/plain", ENCODED, body=base64.b64encode(TEXT.encode()).decode()),
        mail("Content-Type: text/html", body=f"<p>{TEXT}</p>"),
    ],
)
def test_gtube_is_rejected(tmp_path: Path, raw: bytes) -> None:
    verdict = verdict_of(tmp_path, "gtube", raw)
    assert (verdict.action, verdict.score, verdict.messages) == ("reject", 15.0, {"smtp_message": "Gtube pattern"})
    assert set(verdict.symbols) == {"GTUBE"}


def test_other_mail_is_not(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, "gtube", mail(body="GTUBE\n"), envelope=Envelope.of(ip="192.0.2.1"))
    assert (verdict.action, verdict.symbols) == ("no action", {})
