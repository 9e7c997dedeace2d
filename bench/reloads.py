"""Constant load on every door while the daemon is reloaded, its workers are killed and its Redis is restarted.

Each mail says who it is, and a rule tells it back with the version of the rules. What must not be: a refused connection, a
second answer, another's verdict, an answer without having been scanned, a verdict of a rule set that was refused. A connection
that is lost is a tempfail at the MTA; only kills explain it, and no more than what the killed worker's clients had there.
"""

import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

import gevent

from tests.support.console import all_serving, order
from tests.support.daemon import Daemon, running_daemon
from tests.support.load import DOORS, RULE, Tally, loaded
from tests.support.partners import free_port
from tests.support.redis_servers import RestartedRedis

__all__ = ["LONG", "SHORT", "Report", "main", "reloads"]

CLIENTS = 4
"""At each door."""

HANG_TIMEOUT = 6
"""Seconds that a set whose rules hang gets."""

LONG = tuple(
    """good kill broken kill good kill good redis kill good kill hang kill good kill good kill broken kill good kill good kill
    """.split()
)
"""Eleven reloads, two with a broken rule file and one with a rule that hangs at load; eleven kills; a restart of Redis."""

SHORT = ("good", "kill", "broken", "redis", "kill", "good")

ASKING = """
from filterd import redis

SERVER = redis.parse_server("load")
BY_REDIS = " by Redis"

def told_by_redis(task):
    mine = task.message.header("X-Id")
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
    reloaded: int = 0
    refused: int = 0
    killed: int = 0
    seconds: float = 0.0
    versions: set[str] = field(default_factory=set)
    """Of the rule sets that came into service."""
    problems: list[str] = field(default_factory=list)


def main() -> None:
    report = reloads(LONG, workers=4, tell=partial(print, flush=True))
    tally = report.tally
    print(f"\n{'door':<14}" + "".join(f"{kind:>12}" for kind in ("answered", "tempfail", "lost", "refused")))
    for door in DOORS:
        print(f"{door:<14}" + "".join(f"{tally.kinds[door, kind]:>12}" for kind in ("answered", "tempfail", "lost", "refused")))
    print(
        f"{report.reloaded} reloads, {report.refused} refused ones, {report.killed} killed workers in {report.seconds:.0f} s; "
        f"{tally.count('lost')} lost connections, each a tempfail"
    )
    for problem in report.problems:
        print("PROBLEM: " + problem)
    if report.problems:
        sys.exit(1)
    print("nobody was refused, nobody was answered twice, with another's verdict, or unscanned")


def reloads(steps: Sequence[str], *, workers: int, tell: Callable[[str], object] = lambda line: None) -> Report:
    """Take the steps, under load."""
    report = Report(versions={"0"})
    began = monotonic()
    with tempfile.TemporaryDirectory() as home:
        redis = RestartedRedis("--dir", home)
        redis.start()
        try:
            ports = {protocol: free_port() for protocol, _ in DOORS.values() if protocol != "http"}
            listeners = "".join(
                f'[listen.{protocol}]\nprotocol = "{protocol}"\nbind = "127.0.0.1:{port}"\n' for protocol, port in ports.items()
            )
            toml = TOML.format(redis=redis.port) + listeners
            rules = {"load": _rules("0")}
            with running_daemon(Path(home), rules, toml, workers=workers) as daemon:
                ports["http"] = daemon.port
                all_serving(daemon, workers)
                doors = {name: partial(made, ("127.0.0.1", ports[protocol])) for name, (protocol, made) in DOORS.items()}
                with loaded(doors, clients=CLIENTS) as report.tally:
                    for number, step in enumerate(steps, 1):
                        tell(f"{monotonic() - began:6.1f} s  {step}")
                        _take(step, str(number), daemon, redis, workers, report)
                        gevent.sleep(0.5)
        finally:
            redis.stop()
    report.seconds = monotonic() - began
    _judge(report, workers)
    return report


def _rules(version: str) -> str:
    return ASKING + RULE.replace("@VERSION@", version).replace('task.message.header("X-Id"), VERSION', "*told_by_redis(task)")


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


def _judge(report: Report, workers: int) -> None:
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
    # What one worker had, and what its clients sent it before they knew.
    most = report.killed * CLIENTS * len(DOORS)
    if tally.count("lost") > most:
        problems.append(f"{tally.count('lost')} lost connections, {report.killed} kills explain {most} at most")
    silent = [name for name in DOORS if not tally.kinds[name, "answered"]]
    if silent:
        problems.append(f"no answer at all from {', '.join(silent)}")
