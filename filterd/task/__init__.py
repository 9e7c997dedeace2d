"""A message or a stream on its way through the rules: the Task, the Txn, and the Scope that owns all that runs for it."""

from filterd.task.channel import Channel, PhaseError
from filterd.task.scope import (
    Child,
    Closable,
    Deadline,
    Environment,
    Jobs,
    Scope,
    current,
    loading_maps,
    loading_modules,
    sleep,
    with_budget,
)
from filterd.task.task import Task
from filterd.task.txn import Txn
from filterd.task.variables import Variables, process_vars

__all__ = [
    "Channel",
    "Child",
    "Closable",
    "Deadline",
    "Environment",
    "Jobs",
    "PhaseError",
    "Scope",
    "Task",
    "Txn",
    "Variables",
    "current",
    "loading_maps",
    "loading_modules",
    "process_vars",
    "sleep",
    "with_budget",
]
