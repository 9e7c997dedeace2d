"""Who judges the messages of `filterd scan`: an engine in this process, or (see `remote`) a running daemon.

Promises: a judge gives the verdict and the same as a /checkv2 object, or raises `Unscanned` with the reason in words.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from logging import getLogger
from typing import NamedTuple, Protocol

from filterd.cli.exits import refuse
from filterd.daemon.assembly import assemble
from filterd.daemon.config import Config
from filterd.daemon.logs import set_up_logging
from filterd.engine.loader import LoadError
from filterd.engine.registry import Rule
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import close_forgotten_timeouts
from filterd.proto.rspamd import render_verdict

__all__ = ["Judge", "Judgement", "Local", "Unscanned"]

log = getLogger("filterd.scan")


class Unscanned(Exception):
    """The message was not judged; the text says why."""


class Judgement(NamedTuple):
    """One verdict twice: as values, and as the line of JSON a client of /checkv2 gets."""

    verdict: Verdict
    reply: bytes


class Judge(Protocol):
    """`limit` is the bytes a message may have (None: no limit known here), `rules` what is known of the rules, by name."""

    limit: int | None
    rules: Mapping[str, Rule]

    def judge(self, raw: bytes, envelope: Envelope) -> Judgement:
        """Raises Unscanned. Called from several greenlets at a time."""
        ...

    def close(self) -> None: ...


class Local:
    """The engine in this process. Rules that cannot be used end the process, as for every command."""

    def __init__(self, config: Config, *, only: Collection[str] = (), level: str = "error") -> None:
        """`only` keeps the rules that make these symbols; `level` is how grave a log line must be to be shown."""
        set_up_logging("text", level)
        close_forgotten_timeouts()
        try:
            self._assembly = assemble(config, only=only)
        except LoadError as error:
            refuse(error.problems)
        try:
            self._assembly.maps.fetch()
            self._assembly.hooks.load()
        except LoadError as error:
            # The CPU guard's signals must not come when nobody takes them any more.
            self._assembly.close()
            refuse(error.problems)
        self.limit: int | None = config.limits.message
        self.rules: Mapping[str, Rule] = self._assembly.rules.registry.rules
        unknown = [name for name in only if name not in self.rules]
        if unknown:
            self.close()
            refuse(f"--symbols: {self._unknown(name)}" for name in unknown)

    def judge(self, raw: bytes, envelope: Envelope) -> Judgement:
        request = ScanRequest(Message(raw, is_mime=not envelope.raw_mode), envelope, "cli")
        try:
            verdict = self._assembly.engine.scan(request)
        except Exception:
            # A fault of filterd, as those of rules are in the verdict: one message suffers, and the log line says what from.
            log.exception("the engine failed")
            raise Unscanned("internal error, see the traceback") from None
        return Judgement(verdict, render_verdict(verdict, flags=envelope.flags))

    def close(self) -> None:
        self._assembly.hooks.finish(0)
        self._assembly.close()

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name, self.rules, 1)
        return f"there is no symbol {name}" + (f"; did you mean {near[0]}?" if near else "")
