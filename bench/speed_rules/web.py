"""Rules that ask a web service one question each."""

from filterd import Task, config, http, register_symbol

SETTINGS = config.module("bench")


def ask(task: Task) -> bool:
    err, response = http.request(SETTINGS["url"], keepalive=SETTINGS["keepalive"])
    return err is None and response.code == 200 and response.content == b"fine"


for number in range(SETTINGS["web"]):
    register_symbol(name=f"WEB_{number}", callback=ask, score=0.1)
