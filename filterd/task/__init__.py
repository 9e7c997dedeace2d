"""A message or a stream on its way through the rules: the Task, the Txn, and the Scope that owns all that runs for it."""

from filterd.task.background import spawn
from filterd.task.channel import Channel, PhaseError
from filterd.task.loading import LateRegistration, has_loaded, refuse_late
from filterd.task.scope import (
    Background,
    Child,
    Closable,
    Deadline,
    Environment,
    Expected,
    Jobs,
    Scope,
    current,
    loading_maps,
    loading_modules,
    msleep,
    sleep,
    with_budget,
)
from filterd.task.task import Task
from filterd.task.txn import Txn
from filterd.task.variables import Variables, process_vars

__all__ = [
    "Background",
    "Channel",
    "Child",
    "Closable",
    "Deadline",
    "Environment",
    "Expected",
    "Jobs",
    "LateRegistration",
    "PhaseError",
    "Scope",
    "Task",
    "Txn",
    "Variables",
    "current",
    "has_loaded",
    "loading_maps",
    "loading_modules",
    "msleep",
    "process_vars",
    "refuse_late",
    "sleep",
    "spawn",
    "with_budget",
]
