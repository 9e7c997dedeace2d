"""A message on its way through the rules: the Task, and the Scope that owns all that runs and is open for it."""

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

__all__ = [
    "Child",
    "Closable",
    "Deadline",
    "Environment",
    "Jobs",
    "Scope",
    "Task",
    "current",
    "loading_maps",
    "loading_modules",
    "sleep",
    "with_budget",
]
