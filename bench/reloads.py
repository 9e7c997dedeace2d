"""Constant load on every door while the daemon is reloaded, its workers are killed and its Redis is restarted.

Each mail says who it is, and a rule tells it back with the version of the rules. What must not be: a refused connection, a
second answer, another's verdict, an answer without having been scanned, a verdict of a rule set that was refused. A connection
that is lost is a tempfail at the MTA; only kills explain it, and no more than what the killed worker's clients had there.

In the long form a Postfix shows that: what it took is delivered once, with the verdict on it, and what it put off is sent again
until it takes it. Meanwhile somebody watches by the control listener: its counts never fall, it is always healthy and ready.
"""

import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

import gevent

from tests.support.console import all_serving, order
from tests.support.control import reachable
from tests.support.daemon import Daemon, running_daemon
from tests.support.load import RULE, Door, Tally, loaded
from tests.support.load_control import Watch, watched
from tests.support.load_doors import DOORS, SmtpDoor
from tests.support.partners import free_port
from tests.support.postfix import Postfix, running_postfix
from tests.support.redis_servers import RestartedRedis
from tests.support.smtp import fields_of

__all__ = ["BY_REDIS", "LONG", "SHORT", "Report", "main", "reloads"]

CLIENTS = 4
"""At each door, in the long form."""

HANG_TIMEOUT = 6
"""Seconds that a set whose rules hang gets."""

LONG = tuple(
    """good kill broken kill good kill good redis kill good kill hang kill good kill good kill broken kill good kill good kill
    """.split()
)
"""Eleven reloads, two with a broken rule file and one with a rule that hangs at load; eleven kills; a restart of Redis."""

SHORT = ("good", "kill", "broken", "redis", "kill", "good")

SMTP_DOORS: dict[str, Callable[[tuple[str, int]], Door]] = {
    "postfix": SmtpDoor,
    "postfix, kept": partial(SmtpDoor, most=5),
}

ASKING = """
from filterd import redis

SERVER = redis.parse_server("load")
BY_REDIS = " by Redis"

def told_by_redis(task):
    mine = task.message.header("X-Id") or "-"
    is_ok, value = redis.request(SERVER, ["ECHO", mine])
    if not is_ok:
        return mine, VERSION
    return mine if value == mine else f"the answer to another question: {value}", VERSION + BY_REDIS
"""

BY_REDIS = " by Redis"
"""What the version ends with where Redis has answered, which it does but for the moment of its restart."""

BROKEN = "1 / 0\n"
HANGING = "import time\ntime.sleep(3600)\n"

TOML = """
trial_time = "500ms"
start_timeout = "60s"
[redis]
servers = "127.0.0.1:{redis}"
timeout = "1s"
[log]
level = "error"
"""


@dataclass(slots=True)
class Report:
    """What was counted. `problems` are sentences; none of them is what one wants."""

    tally: Tally = field(default_factory=Tally)
    watch: Watch = field(default_factory=lambda: Watch(0))
    lost: Counter[str] = field(default_factory=Counter)
    """Connections, by the step in which they broke."""
    reloaded: int = 0
    refused: int = 0
    killed: int = 0
    seconds: float = 0.0
    versions: set[str] = field(default_factory=set)
    """Of the rule sets that came into service."""
    delivered: int = 0
    deferred: int = 0
    """By Postfix: mails in the mailbox, and refusals for now in its log."""
    problems: list[str] = field(default_factory=list)


def main() -> None:
    has_postfix = os.geteuid() == 0 and shutil.which("postfix", path="/usr/sbin:/sbin") is not None
    report = reloads(LONG, workers=4, clients=CLIENTS, has_postfix=has_postfix, tell=partial(print, flush=True))
    tally, watch = report.tally, report.watch
    kinds = ("answered", "accepted", "tempfail", "closed", "lost", "refused")
    print(f"\n{'door':<16}" + "".join(f"{kind:>10}" for kind in kinds))
    for door in [*DOORS, *(SMTP_DOORS if has_postfix else ())]:
        print(f"{door:<16}" + "".join(f"{tally.kinds[door, kind]:>10}" for kind in kinds))
    print(f"{'all':<16}" + "".join(f"{tally.count(kind):>10}" for kind in kinds))
    print(f"lost connections, each a tempfail, by step: {dict(report.lost)}")
    print(
        f"{report.reloaded} reloads, {report.refused} refused ones, {report.killed} killed workers in {report.seconds:.0f} s; "
        f"/stat told {watch.scanned} messages in the end; asked meanwhile: {dict(watch.answers)}"
    )
    if has_postfix:
        print(f"Postfix delivered {report.delivered} mails, each once and scanned, and has deferred {report.deferred} times")
    else:
        print("without Postfix, which is not here or may not be started")
    for problem in report.problems:
        print("PROBLEM: " + problem)
    if report.problems:
        sys.exit(1)
    print("nobody was refused, nobody was answered twice, with another's verdict, or unscanned")


def reloads(
    steps: Sequence[str],
    *,
    workers: int,
    clients: int,
    pause: float = 0.005,
    has_postfix: bool = False,
    tell: Callable[[str], object] = lambda line: None,
) -> Report:
    """Take the steps, with so many clients at each door who wait for `pause` seconds after each answer."""
    report = Report(versions={"0"})
    began = monotonic()
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        redis = RestartedRedis("--dir", home)
        redis.start()
        stack.callback(redis.stop)
        ports = {protocol: free_port() for protocol, _ in DOORS.values() if protocol != "http"}
        listeners = "".join(
            f'[listen.{protocol}]\nprotocol = "{protocol}"\nbind = "127.0.0.1:{port}"\n' for protocol, port in ports.items()
        )
        toml = TOML.format(redis=redis.port) + listeners
        daemon = stack.enter_context(running_daemon(Path(home), {"load": _rules("0")}, toml, workers=workers))
        ports["http"] = daemon.port
        all_serving(daemon, workers)
        for port in ports.values():
            reachable(port)
        doors = {name: partial(made, ("127.0.0.1", ports[protocol])) for name, (protocol, made) in DOORS.items()}
        postfix = stack.enter_context(_postfix(ports["milter"])) if has_postfix else None
        if postfix is not None:
            doors |= {name: partial(made, ("127.0.0.1", postfix.port)) for name, made in SMTP_DOORS.items()}
        with (
            watched(ports["control"]) as report.watch,
            loaded(doors, clients=clients, pause=pause) as report.tally,
        ):
            for number, step in enumerate(steps, 1):
                tell(f"{monotonic() - began:6.1f} s  {step}")
                before = report.tally.count("lost")
                _take(step, str(number), daemon, redis, workers, report)
                gevent.sleep(0.5)
                report.lost[step] += report.tally.count("lost") - before
        if postfix is not None:
            _look_into(postfix, report)
    report.seconds = monotonic() - began
    _judge(report, clients)
    return report


@contextmanager
def _postfix(milter_port: int) -> Iterator[Postfix]:
    """One that asks the daemon, and does not make a client wait who was refused."""
    settings = {"smtpd_milters": f"inet:127.0.0.1:{milter_port}", "smtpd_error_sleep_time": "0"}
    with running_postfix(settings) as postfix:
        yield postfix


def _look_into(postfix: Postfix, report: Report) -> None:
    """What Postfix has taken lies in the mailbox, once, with the verdict of the mail itself on it; and nothing else does."""
    accepted = report.tally.accepted
    with gevent.Timeout(120, AssertionError("Postfix does not deliver what it has taken")):
        while postfix.arrived < len(accepted):
            gevent.sleep(0.1)
    found: Counter[str] = Counter()
    for mail in postfix.mails(len(accepted)):
        fields = fields_of(mail)
        (name,) = [value for field_name, value in fields if field_name == "X-Id"]
        told = [value for field_name, value in fields if field_name == "X-Whose"]
        found[name] += 1
        if len(told) != 1 or told[0].split(" ")[0] != name:
            report.problems.append(f"Postfix has delivered {name} with the verdicts {told}")
        else:
            report.tally.versions[told[0].partition(" ")[2]] += 1
    report.delivered = found.total()
    if found != Counter(accepted):
        odd = (found - Counter(accepted)) + (Counter(accepted) - found)
        report.problems.append(f"Postfix has taken {len(accepted)} mails and delivered {found.total()}: {dict(odd)}")
    report.deferred = len(re.findall(r": milter-reject: [^:]*: (?:4\d\d )?4\.", postfix.log))


def _rules(version: str) -> str:
    told = 'told = [task.message.header("X-Id") or "-", VERSION]'
    assert told in RULE
    return ASKING + RULE.replace("@VERSION@", version).replace(told, "told = told_by_redis(task)")


def _take(step: str, version: str, daemon: Daemon, redis: RestartedRedis, workers: int, report: Report) -> None:
    rule_file = daemon.conf.parent / "rules" / "load.py"
    if step == "kill":
        # Under load also in the middle of whatever else goes on: those of the set that is just replaced may be hit too.
        victim = random.choice(all_serving(daemon, workers))
        os.kill(victim, signal.SIGKILL)
        report.killed += 1
        all_serving(daemon, workers, without=[victim])
    elif step == "redis":
        redis.stop()
        gevent.sleep(0.3)
        redis.start()
    elif step == "good":
        rule_file.write_text(_rules(version))
        problems = order(daemon, "reload")["problems"]
        report.problems += [f"a good reload has failed: {problem}" for problem in problems]
        report.versions.add(version)
        report.reloaded += 1
    else:
        conf = daemon.conf.read_text()
        if step == "hang":
            daemon.conf.write_text(conf.replace('start_timeout = "60s"', f'start_timeout = "{HANG_TIMEOUT}s"'))
        rule_file.write_text(_rules(version) + (HANGING if step == "hang" else BROKEN))
        if not order(daemon, "reload")["problems"]:
            report.problems.append(f"a reload with a {step} rule was not refused")
        daemon.conf.write_text(conf)
        report.refused += 1


def _judge(report: Report, clients: int) -> None:
    tally, problems = report.tally, report.problems
    problems += tally.problems[:20]
    if len(tally.problems) > 20:
        problems.append(f"and {len(tally.problems) - 20} more")
    odd = {version.removesuffix(BY_REDIS) for version in tally.versions} - report.versions - {""}
    if odd:
        problems.append(f"verdicts of rule sets that were refused: {sorted(odd)}")
    by_redis = sum(count for version, count in tally.versions.items() if version.endswith(BY_REDIS))
    if by_redis < tally.count("answered") / 2:
        problems.append(f"only {by_redis} of {tally.count('answered')} verdicts asked Redis")
    problems += [f"watching: {problem}" for problem in report.watch.problems[:20]]
    # What one worker had, and what its clients sent it before they knew.
    most = report.killed * clients * len(DOORS)
    for step, lost in report.lost.items():
        if lost and step != "kill":
            problems.append(f"{lost} connections were lost by the step {step}; of all: {tally.losses}")
    if tally.count("lost") > most:
        problems.append(f"{tally.count('lost')} lost connections, {report.killed} kills explain {most} at most")
    for (door, kind), number in tally.kinds.items():
        if number and ((kind == "tempfail" and door in DOORS) or (kind == "lost" and door in SMTP_DOORS)):
            problems.append(f"{door}: {number} times {kind}, and nothing explains it")
    put_off = sum(tally.kinds[door, "tempfail"] for door in SMTP_DOORS)
    if put_off > report.deferred:
        problems.append(f"Postfix has put off {put_off} mails, but its log has only {report.deferred} refusals by the milter")
    # Of a worker that was killed what it counted since it was last asked is not known.
    if report.watch.scanned > sum(tally.count(kind) for kind in ("answered", "accepted", "tempfail", "lost")):
        problems.append(f"/stat tells {report.watch.scanned} messages, more than were sent")
    silent = [name for name in DOORS if not tally.kinds[name, "answered"]]
    if silent:
        problems.append(f"no answer at all from {', '.join(silent)}")
