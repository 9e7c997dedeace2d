"""Rows beside SpamAssassin's spamd and beside Haraka, each asked in the protocol that it speaks. Both raise Absent."""

from collections.abc import Callable
from contextlib import ExitStack

from bench.backends import Backends
from bench.dialogues import over_http, over_smtp, over_spamc
from bench.load import Wrong, holding
from bench.peers import SPAMD_SYMBOL, filterd, haraka, spamd
from bench.reading import message
from bench.speed_rounds import Budget, Row, checking, in_turn, measuring
from bench.speed_scenarios import RULES, Load, Scenario

__all__ = ["NOTES", "beside_haraka", "beside_spamd"]

# With one child, spamd serves one at a time: the others wait where the kernel keeps them.
SPAMC = Scenario("S0S", "no rules, beside SpamAssassin's spamd", None, loads=(Load(4),))
# Haraka also receives the mail by SMTP: the row compares a filter with an MTA that filters. Filterd is asked over HTTP, as an
# MTA asks a filter, and what that MTA needs is not in the row.
WEB = Scenario(
    "S2H", "one http.request, beside a plugin of Haraka, its SMTP included", None, {"web": 1}, loads=(Load(16),), keepalive=True
)

NOTES = {
    "S0S": "S0S: both are asked in SpamAssassin's protocol; spamd does not start without any rule and has one for a header",
    "S2H": "S2H: Haraka also receives the mail by SMTP, filterd is asked over HTTP: an MTA that filters beside a filter alone",
}


def beside_spamd(budget: Budget, backends: Backends) -> list[Row]:
    """The same load in SpamAssassin's protocol; filterd's port for HTTP answers it too."""
    (load,) = SPAMC.loads
    dialogue = over_spamc(message(load.size))
    with ExitStack() as stack:
        other, ours = stack.enter_context(spamd()), stack.enter_context(filterd())
        found = in_turn(
            {
                peer.name: measuring(SPAMC, peer, dialogue, load.connections, _being(symbols), backends)
                for peer, symbols in ((other, SPAMD_SYMBOL), (ours, ""))
            },
            budget,
        )
    return [Row(SPAMC.name, SPAMC.what, None, "spamd", found["spamd"], found["filterd"])]


def beside_haraka(budget: Budget, backends: Backends) -> list[Row]:
    """One question to nginx for each message, over kept connections, by a plugin of Haraka and by a rule of filterd."""
    (load,) = WEB.loads
    raw = message(load.size)
    plugin, url = (RULES / "web.js").read_text(), f"http://127.0.0.1:{backends.web}/"
    with ExitStack() as stack:
        other = stack.enter_context(haraka(plugin, url))
        ours = stack.enter_context(filterd(WEB.sources(""), WEB.toml("", backends)))
        found = in_turn(
            {
                "haraka": measuring(WEB, other, over_smtp(raw), load.connections, holding(b"250 Discarded, WEB_0 "), backends),
                "filterd": measuring(WEB, ours, over_http(raw), load.connections, checking(WEB.symbols()), backends),
            },
            budget,
        )
    return [Row(WEB.name, WEB.what, None, "haraka", found["haraka"], found["filterd"])]


def _being(symbols: str) -> Callable[[bytes], None]:
    def check(body: bytes) -> None:
        if body != symbols.encode():
            raise Wrong(f"the symbols are {body[:300]!r} where {symbols!r} was due")

    return check
