"""A gate before an SMTP server: a client on a DNS blocklist is told so, and does not reach the server.

    [listen.gate]
    protocol = "tcp"
    bind = "0.0.0.0:25"
    server = "127.0.0.1:10025"
    send_proxy = "v2"                         # Postfix, for that port: smtpd_upstream_proxy_protocol = haproxy
    request = "smtp_gate if not ip in friends"

    [modules.smtp_gate]
    lists = ["zen.spamhaus.org"]

    [maps.friends]
    source = "file:friends.map"
    type = "ip"

All lists are asked at once, and only this connection waits. One that does not answer is nobody's fault: the client passes.
"""

from filterd import RequestFailed, Txn, action, config, dns

LISTS = config.module("smtp_gate").get("lists", [])


@action("smtp_gate", stages={"tcp.request"})
def smtp_gate(txn: Txn) -> None:
    ip = txn.ip
    if ip is not None:
        answers = dns.many([(dns.reverse(ip, zone), "a") for zone in LISTS])
        # 127.255.255.x is no listing: it says that the list is asked too much, or by whom it does not serve.
        listed = [
            zone
            for zone, (is_ok, records) in zip(LISTS, answers, strict=True)
            if is_ok and any(one.startswith("127.0.") for one in records)
        ]
        if listed:
            txn.log.info("%s is on %s", ip, ", ".join(listed))
            txn.reject(f"554 5.7.1 {ip} is listed by {', '.join(listed)}")
    try:
        txn.connect()
    except RequestFailed as error:
        txn.log.warning("no server: %s", error.failure.detail)
        txn.reject("421 4.3.2 The mail server is not available, try again later")
