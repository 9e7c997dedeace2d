"""Shipped rule files put to work as an administrator would: a configuration, a message, a verdict."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filterd.daemon.assembly import Assembly, assemble
from filterd.daemon.config import load_config
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict

__all__ = ["RULES", "assembled", "mail", "verdict_of"]

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules"

_GOOD = {
    "Date": "Thu, 1 Jan 1970 00:00:00 +0000",
    "From": "Ann <ann@example.org>",
    "To": "bob@example.net",
    "Subject": "hello",
    "Message-ID": "<1@example.org>",
}


def mail(*changes: str, body: str = "Hi\n", without: Iterable[str] = (), **headers: str) -> bytes:
    """A well-formed message; `changes` are further header lines, keywords (with _ for -) replace headers."""
    fields = {name: value for name, value in _GOOD.items() if name not in without}
    fields.update((name.replace("_", "-"), value) for name, value in headers.items())
    lines = [f"{name}: {value}" for name, value in fields.items()] + list(changes)
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@contextmanager
def assembled(folder: Path, rules: Iterable[Path | str], toml: str = "") -> Iterator[Assembly]:
    """The engine with these rule files, the shipped scores and the given configuration (the CPU guard is off)."""
    conf = folder / "filterd.toml"
    conf.write_text(toml)
    (folder / "scores.toml").write_text((ROOT / "conf" / "scores.toml").read_text())
    config = load_config(conf, rules=[str(rule) for rule in rules], sets=["limits.burst_timeout=0"])
    assembly = assemble(config)
    try:
        yield assembly
    finally:
        assembly.close()


def verdict_of(folder: Path, rule: str, raw: bytes, toml: str = "", *, envelope: Envelope | None = None) -> Verdict:
    """What one shipped rule file makes of a message."""
    with assembled(folder, [RULES / f"{rule}.py"], toml) as assembly:
        return assembly.engine.scan(ScanRequest(Message(raw), envelope or Envelope({})))
