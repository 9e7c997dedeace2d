"""Health checks: asks services of your own again and again, and keeps in a map which of them work.

An example: files in this folder are not loaded. Copy it into a folder of `rules.paths`, and write into `conf/local.d`:

    [modules.health_check]
    seconds = 5.0
    timeout = 1.0
    services = { scanner = "http://127.0.0.1:8080/health", mailbox = "tcp://127.0.0.1:24" }

    [maps.healthy]
    type = "map"

One worker asks (`scope="once"`), and every worker has the map: the services that work, each with what it said. A rule asks it
with `maps["healthy"]`; a condition of the configuration asks for the symbol SERVICE_DOWN, whose options are those that do not.
A service that stops working is an alert in the log, once; one that works again a notice.
"""

from filterd import Task, config, http, log, maps, periodic, rule, tcp_sync

SETTINGS = config.module("health_check")
SERVICES: dict[str, str] = dict(SETTINGS.get("services", {}))
TIMEOUT: float = SETTINGS.get("timeout", 1.0)
HEALTHY = maps["healthy"]
KNOWN: dict[str, bool] = {}


@periodic(SETTINGS.get("seconds", 5.0), scope="once")
def look() -> None:
    """Ask one after the other; what changed is in the map at once."""
    found = {name: asked(url) for name, url in SERVICES.items()}
    with HEALTHY.edit() as edit:
        for name, (works, said) in found.items():
            if works:
                edit[name] = said
            else:
                edit.discard(name)
    for name, (works, said) in found.items():
        if KNOWN.get(name, True) != works:
            log.log("notice" if works else "alert", "%s %s: %s", name, "works again" if works else "does not work", said)
        KNOWN[name] = works


def asked(url: str) -> tuple[bool, str]:
    """Whether a service works, and what it or its failure says."""
    if not url.startswith("tcp://"):
        err, response = http.request(url, timeout=TIMEOUT)
        return (False, err.detail) if err else (response.is_success, f"{response.code} {response.reason}")
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    is_ok, connection = tcp_sync.connect(host.strip("[]"), int(port), timeout=TIMEOUT)
    if not is_ok:
        return False, str(connection)
    connection.close()
    return True, "accepts"


@rule("SERVICE_DOWN", score=0.0, group="health", description="A service of ours does not work")
def service_down(task: Task) -> tuple[object, ...] | None:
    """Options are the services that were asked and do not work."""
    down = [name for name in SERVICES if name not in HEALTHY]
    return (True, *down) if down else None
