"""The process that reads a configuration for the supervisor: its texts are kept, its plan is told.

It runs as the user who started filterd, so that it can read what only root may, and therefore runs no rule: rule files are only
read.
"""

import os
from collections.abc import Mapping
from typing import Any

from filterd.daemon.config import Config, ConfigError, default_config_path, load_config
from filterd.daemon.cpus import usable_cpus
from filterd.daemon.plan import Door, Plan
from filterd.engine.rule_files import keep_rules
from filterd.engine.texts import Texts

__all__ = ["plan_of", "scout"]


def scout(begin: Mapping[str, Any]) -> dict[str, Any]:
    """What to tell the supervisor: the plan, when the texts are in the file that `begin` names; or what is wrong."""
    texts = Texts()
    try:
        config = load_config(begin["conf"] or default_config_path(), sets=begin["sets"], rules=begin["rules"], texts=texts)
    except ConfigError as error:
        problems = [*map(str, error.problems), "the rules were not looked at: they need the configuration"]
        return {"what": "failed", "problems": problems}
    if not config.listen:
        return {"what": "failed", "problems": ["listen: there is no listener, so nobody could bring a message"]}
    problems = [str(problem) for problem in keep_rules(config.rules.paths, texts)]
    if problems:
        return {"what": "failed", "problems": problems}
    with open(begin["texts"], "wb", closefd=False) as file:
        file.write(texts.pack())
    os.set_blocking(begin["texts"], True)
    return {"what": "plan", "plan": plan_of(config).told()}


def plan_of(config: Config) -> Plan:
    """The supervisor's part of a configuration."""
    workers, supervisor, log = config.workers, config.supervisor, config.log
    doors = [
        Door(name, door.protocol, number, bind.host, bind.port, bind.path, bind.mode, bind.owner, bind.group)
        for name, door in config.listen.items()
        for number, bind in enumerate(door.bind)
    ]
    return Plan(
        tuple(doors),
        usable_cpus() if workers.count == "auto" else workers.count,
        workers.max_rss,
        workers.max_messages,
        workers.start_timeout,
        workers.stuck_timeout,
        workers.trial_time,
        config.limits.task_timeout,
        supervisor.socket,
        None if supervisor.pid_file is None else str(supervisor.pid_file),
        supervisor.user,
        supervisor.group,
        log.format,
        log.level,
        None if log.file is None else str(log.file),
    )
