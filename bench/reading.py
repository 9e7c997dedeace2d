"""CPU per message when a rule reads everything, against Rspamd's scan without a rule.

2 KB of text, 12 KB with text, HTML and an attachment, 200 KB with large attachments. The rule asks for the subject, text, HTML,
URLs, e-mail addresses, attachments and words. Rounds alternate between the two servers; printed are the medians of the rounds'
ratios.
"""

import random
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from statistics import median

from bench.dialogues import over_http
from bench.load import CLIENT_CORE, holding, run
from bench.peers import Peer, filterd, pinned, rspamd

ROUNDS = 5
MESSAGES = 960
CONNECTIONS = 16

RULE = Path(__file__).with_name("speed_rules").joinpath("read_all.py").read_text()
READ = holding(b'"READ_ALL"')
WORDS = "the quick brown fox jumps over a lazy dog while mail filters read every word of each letter they are given".split()


def message(size: int) -> bytes:
    """A well-formed message of about so many bytes; the same for the same size."""
    dice = random.Random(size)
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ann <ann@example.org>", "bob@example.net", "Figures of the last quarter"
    mail["Date"], mail["Message-ID"] = "Thu, 01 Jan 2026 10:00:00 +0000", f"<{size}@example.org>"
    for hop in range(3):
        mail["Received"] = (
            f"from mx{hop}.example.org (mx{hop}.example.org [192.0.2.{hop}]) by mx.example.net; Thu, 01 Jan 2026 10:00:00 +0000"
        )

    def text(length: int) -> str:
        lines, made = [], 0
        while made < length:
            line = " ".join(dice.choices(WORDS, k=11))
            if dice.random() < 0.05:
                line += f" https://www{dice.randrange(9)}.example.com/page/{dice.randrange(999)}?q=1"
            if dice.random() < 0.02:
                line += f" user{dice.randrange(9)}@example.com"
            lines.append(line)
            made += len(line) + 1
        return "\n".join(lines) + "\n"

    if size < 4096:
        mail.set_content(text(size - 700))
        return mail.as_bytes()
    body = min(size // 4, 3000)
    mail.set_content(text(body))
    paragraphs = "".join(
        f'<p class="c">{line} <a href="https://shop.example.com/{n}">see</a></p>'
        for n, line in enumerate(text(body).splitlines())
    )
    mail.add_alternative(f"<html><head><style>p {{ margin: 0 }}</style></head><body>{paragraphs}</body></html>", subtype="html")
    rest = max(size - 3 * body, 1000) * 3 // 4
    for number in range(2 if size > 100_000 else 1):
        data = dice.randbytes(rest // (2 if size > 100_000 else 1))
        mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=f"figures{number}.bin")
    return mail.as_bytes()


def main() -> None:
    print(f"medians of {ROUNDS} rounds of {MESSAGES} messages, CPU in µs a message")
    print(" ".join(f"{name:>10}" for name in ("bytes", "rspamd", "filterd", "ratio")))
    with pinned(CLIENT_CORE), rspamd() as other, filterd(RULE) as ours:
        for size in (2_000, 12_000, 200_000):
            raw = message(size)
            run(other.port, over_http(raw), 160, CONNECTIONS, holding(b'"action"'))
            run(ours.port, over_http(raw), 160, CONNECTIONS, READ)
            rounds = [(_cost(other, raw, holding(b'"action"')), _cost(ours, raw, READ)) for _ in range(ROUNDS)]
            ratio = median(theirs / mine for theirs, mine in rounds)
            theirs, mine = (median(column) for column in zip(*rounds, strict=True))
            print(f"{len(raw):>10} {theirs:>10.0f} {mine:>10.0f} {ratio:>10.2f}")
        print(f"memory: rspamd {other.memory() // 2**20} MiB, filterd {ours.memory() // 2**20} MiB (largest process)")


def _cost(peer: Peer, raw: bytes, check: Callable[[bytes], None]) -> float:
    before = peer.cpu()
    run(peer.port, over_http(raw), MESSAGES, CONNECTIONS, check)
    return (peer.cpu() - before) / MESSAGES * 1e6
