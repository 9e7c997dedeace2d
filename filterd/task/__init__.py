"""A message on its way through the rules: the Task, and the Scope that owns all that runs and is open for it."""

from filterd.task.background import spawn
from filterd.task.loading import LateRegistration, has_loaded, refuse_late
from filterd.task.scope import (
    Background,
    Child,
    Closable,
    Deadline,
    Environment,
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

__all__ = [
    "Background",
    "Child",
    "Closable",
    "Deadline",
    "Environment",
    "Jobs",
    "LateRegistration",
    "Scope",
    "Task",
    "current",
    "has_loaded",
    "loading_maps",
    "loading_modules",
    "msleep",
    "refuse_late",
    "sleep",
    "spawn",
    "with_budget",
]
