"""ClamAV: sends the message to clamd's INSTREAM command. Off until a server is configured:

[modules.clamav]
server   = "127.0.0.1:3310"     # or "unix:/run/clamav/clamd.ctl"
timeout  = 5.0
max_size = 26214400             # larger messages are not scanned, and say so; keep clamd's StreamMaxLength above it
reject   = true                 # a virus is rejected whatever the score
on_error = "symbol"             # when clamd does not answer: "skip", "symbol" (adds RULE_FAILED) or "tempfail"
"""

import struct

from filterd import Failure, Registry, RequestFailed, Task, config, tcp_sync

SETTINGS = config.module("clamav")
CHUNK = 65536


def register(registry: Registry) -> None:
    if "server" not in SETTINGS:
        return
    registry.rule(
        "CLAMAV_CHECK",
        type="callback",
        group="antivirus",
        description="Sends the message to ClamAV",
        on_error=SETTINGS.get("on_error", "symbol"),
    )(check)
    registry.virtual("CLAM_VIRUS", parent="CLAMAV_CHECK", group="antivirus", description="ClamAV found a virus")
    registry.virtual("CLAM_TOO_LARGE", parent="CLAMAV_CHECK", group="antivirus", description="Too large for the virus scanner")


def check(task: Task) -> None:
    raw = task.message.raw
    if len(raw) > SETTINGS.get("max_size", 25 * 1024 * 1024):
        task.insert_result("CLAM_TOO_LARGE", 1.0, len(raw))
        return
    host, port = endpoint(SETTINGS["server"])
    scanner = tcp_sync.connect(host, port, timeout=SETTINGS.get("timeout", 5.0)).unwrap()
    scanner.write([b"zINSTREAM\0", *chunks(raw), struct.pack(">I", 0)]).unwrap()
    answer = scanner.read_until(b"\0").unwrap().decode(errors="replace").removeprefix("stream: ")
    if answer == "OK":
        return
    if not answer.endswith(" FOUND"):
        raise RequestFailed(Failure(f"clamd answered: {answer}", kind="server", peer=SETTINGS["server"]))
    virus = answer.removesuffix(" FOUND")
    task.insert_result("CLAM_VIRUS", 1.0, virus)
    if SETTINGS.get("reject", True):
        task.set_pre_result("reject", f"Virus found: {virus}", "clamav", priority=2)


def endpoint(server: str) -> tuple[str, int | None]:
    if server.startswith("unix:"):
        return server, None
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


def chunks(raw: bytes) -> list[bytes]:
    pieces = [raw[start : start + CHUNK] for start in range(0, len(raw), CHUNK)]
    return [struct.pack(">I", len(piece)) + piece for piece in pieces]
