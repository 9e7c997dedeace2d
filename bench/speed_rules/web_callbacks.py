"""As `web.py`, with callbacks."""

from filterd import Failure, Task, config, http, register_symbol

SETTINGS = config.module("bench")


def asking(symbol: str) -> None:
    def ask(task: Task) -> None:
        def done(err: Failure | None, code: int | None, body: bytes | None) -> None:
            if err is None and code == 200 and body == b"fine":
                task.insert_result(symbol, 1.0)

        http.request(SETTINGS["url"], keepalive=SETTINGS["keepalive"], callback=done)

    register_symbol(name=symbol, callback=ask, score=0.1)


for number in range(SETTINGS["web"]):
    asking(f"WEB_{number}")
