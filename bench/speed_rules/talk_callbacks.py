"""As `talk.py`, with callbacks, which read to the end of a line."""

from typing import Any

from filterd import Failure, Task, config, register_symbol, tcp

SETTINGS = config.module("bench")


def talking(symbol: str) -> None:
    def talk(task: Task) -> None:
        def read(err: Failure | None, data: bytes | None, conn: Any) -> None:
            if err is None and data == b"x" * 99:
                task.insert_result(symbol, 1.0)
            conn.close()

        def announced(err: Failure | None, data: bytes | None, conn: Any) -> None:
            if err is None and data == b"100":
                conn.add_read(read, "\n")

        tcp.request("127.0.0.1", SETTINGS["tcp"], data="ask\n", stop_pattern="\n", callback=announced)

    register_symbol(name=symbol, callback=talk, score=0.1)


for number in range(SETTINGS["talk"]):
    talking(f"TALK_{number}")
