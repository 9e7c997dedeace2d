"""Reputation by HTTP: asks a service of your own about the sender. Off until a URL is configured:

    [modules.reputation]
    url     = "http://127.0.0.1:8080/reputation"
    timeout = 2.0

The service gets a JSON object (ip, from, helo, domain) by POST and answers with one: `score` from -1 (known good) to 1 (known
bad), and a `reason` if it likes. Positive scores give BAD_REPUTATION, negative ones GOOD_REPUTATION, each times the score.
"""

from filterd import Failure, Registry, RequestFailed, Task, config, http

SETTINGS = config.module("reputation")


def register(registry: Registry) -> None:
    if "url" not in SETTINGS:
        return
    registry.rule("REPUTATION_CHECK", type="callback", group="reputation", description="Asks the reputation service")(check)
    registry.virtual("BAD_REPUTATION", parent="REPUTATION_CHECK", group="reputation")
    registry.virtual("GOOD_REPUTATION", parent="REPUTATION_CHECK", group="reputation")


def check(task: Task) -> None:
    sender = task.mail_from
    question = {"ip": task.ip, "from": sender, "helo": task.helo, "domain": sender.domain if sender else None}
    reply = http.request(SETTINGS["url"], json=question, timeout=SETTINGS.get("timeout", 2.0)).unwrap()
    if not reply.is_success:
        raise RequestFailed(Failure(f"{SETTINGS['url']} answered {reply.code} {reply.reason}", kind="server"))
    answer = reply.json()
    score = max(-1.0, min(1.0, float(answer["score"])))
    if score > 0:
        task.insert_result("BAD_REPUTATION", score, answer.get("reason", "listed"))
    elif score < 0:
        task.insert_result("GOOD_REPUTATION", -score, answer.get("reason", "listed"))
