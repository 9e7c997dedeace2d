"""Running filterd as somebody who may not look where the tests' own Python lies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import filterd

__all__ = ["as_others"]


def as_others(uid: int) -> tuple[str, dict[str, str]]:
    """A Python that this user can run filterd with, and its environment; the test is skipped where there is none."""
    places = dict.fromkeys([str(Path(filterd.__file__).parents[1]), *(place for place in sys.path if "site-packages" in place)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            words = [python, "-c", "import filterd.daemon.worker"]
            done = subprocess.run(words, user=uid, group=uid, env=environment, cwd="/", capture_output=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return python, environment
    pytest.skip(f"user {uid} may not run the Python that the tests run with")
