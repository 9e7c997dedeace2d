"""DNS blocklists for the client's address and for the hops in the Received headers. Off until lists are configured:

    [modules.dnsbl.lists.example]
    zone     = "bl.example.org"
    symbol   = "RBL_EXAMPLE"        # default: DNSBL_ and the list's name
    score    = 4.0
    received = false                # look at the Received hops too; a hit there is SYMBOL_RECEIVED, with `received_score`
    codes    = { "127.0.0.2" = "RBL_EXAMPLE_SPAM" }     # symbols by answer; others give `symbol`

All questions of a message are asked at once. Addresses that are private or local are not asked about.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from filterd import Registry, Task, config, dns, log

LISTS: Mapping[str, Mapping[str, Any]] = config.module("dnsbl").get("lists", {})
HOPS = 5
NO_RECORD = ("no records with this name", "requested record is not found")


def register(registry: Registry) -> None:
    if not LISTS:
        return
    registry.rule("DNSBL_CHECK", type="callback", group="dnsbl", description="Asks the DNS blocklists")(check)
    for name, settings in LISTS.items():
        for symbol in {symbol_of(name), *settings.get("codes", {}).values()}:
            registry.virtual(symbol, parent="DNSBL_CHECK", group="dnsbl", score=settings.get("score", 1.0))
            if settings.get("received"):
                registry.virtual(
                    f"{symbol}_RECEIVED", parent="DNSBL_CHECK", group="dnsbl", score=settings.get("received_score", 0.5)
                )


def symbol_of(name: str) -> str:
    return str(LISTS[name].get("symbol", f"DNSBL_{name.upper()}"))


def check(task: Task) -> None:
    client = task.ip
    hops = [hop.real_ip for hop in task.message.received[:HOPS] if hop.real_ip] if any_received() else []
    questions = [
        (name, address)
        for address in dict.fromkeys([client, *hops])
        if address and is_public(address)
        for name, settings in LISTS.items()
        if address == client or settings.get("received")
    ]
    answers = dns.many([(dns.reverse(address, LISTS[name]["zone"]), "a") for name, address in questions])
    for (name, address), (is_ok, records) in zip(questions, answers, strict=True):
        if is_ok:
            report(task, name, address, records, listed_client=address == client)
        elif records not in NO_RECORD:
            log.warning("blocklist %s did not answer for %s: %s", name, address, records)


def report(task: Task, name: str, address: str, records: list[str], *, listed_client: bool) -> None:
    codes = LISTS[name].get("codes", {})
    for symbol in dict.fromkeys(codes.get(record, symbol_of(name)) for record in records if record.startswith("127.")):
        task.insert_result(symbol if listed_client else f"{symbol}_RECEIVED", 1.0, address)


def any_received() -> bool:
    return any(settings.get("received") for settings in LISTS.values())


def is_public(address: str) -> bool:
    return ip_address(address).is_global
