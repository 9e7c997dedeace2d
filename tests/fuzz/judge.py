"""One input judged: only the declared exceptions come out, in time, and without more memory than the input deserves."""

import contextlib
import re
import resource
import signal
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.fuzz.target import Target

__all__ = ["Finding", "judge", "minimised"]

HANGS = 20.0
"""Seconds of CPU after which an input is stopped."""
_MINIMISING = 20.0
_FRAME = re.compile(r'File "(?:.*/)?((?:filterd|tests/fuzz)/[^"]+)", line (\d+)')
_DIGITS = re.compile(r"\d+")
# Where in the text of an error that which is different for each input begins.
_VARYING = re.compile(r"['\"\d]")


class Hung(BaseException):
    """The input took HANGS seconds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong; `what` is the same for inputs that show the same fault, as far as a program can tell."""

    what: str
    details: str


def judge(target: Target, data: bytes, *, patience: float = 1.0) -> Finding | str:
    """The fault that the input shows, or the outcome in words that do not change with numbers.

    `patience` multiplies the time that is allowed: code that is being looked into is slower.
    """
    finding = _tried(target, data, patience)
    if isinstance(finding, Finding) and finding.what.startswith("slow"):
        # Others use the machine too: slow is what is slow three times.
        for _ in range(2):
            again = _tried(target, data, patience)
            if not isinstance(again, Finding) or not again.what.startswith("slow"):
                return again
    return finding


def _tried(target: Target, data: bytes, patience: float) -> Finding | str:
    before = signal.signal(signal.SIGVTALRM, _stop)
    memory = _peak(is_new=True)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANGS)
    began = time.process_time()
    try:
        outcome: Finding | str = repr(target.run(data))
    except target.raises as error:
        outcome = f"{type(error).__name__}: {_VARYING.split(str(error), maxsplit=1)[0]}"
    except Hung:
        outcome = Finding(f"hangs at {_place(traceback.format_exc())}", traceback.format_exc())
    except (Exception, RecursionError) as error:  # noqa: BLE001 - which is what this is for
        told = traceback.format_exc()
        outcome = Finding(f"{type(error).__name__} at {_place(told)}", told)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    if isinstance(outcome, Finding):
        return outcome
    spent, allowed = time.process_time() - began, patience * (target.cpu + len(data) / 2**20)
    if spent > allowed:
        return Finding("slow", f"{spent:.3f} s of CPU for {len(data)} bytes, {allowed:.3f} are allowed")
    grown = _peak() - memory
    if grown > target.memory + 10 * len(data):
        return Finding("large", f"{grown} bytes of memory for an input of {len(data)}")
    return _DIGITS.sub("0", outcome)[:200]


def _peak(*, is_new: bool = False) -> int:
    """The most bytes of memory that this process has held; `is_new`: from now on, where the kernel can be told so."""
    if is_new:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_bytes(b"5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Hung


def _place(told: str) -> str:
    frames = [frame for frame in _FRAME.findall(told) if not frame[0].endswith("judge.py")]
    return ":".join(frames[-1]) if frames else "?"


def minimised(target: Target, data: bytes, finding: Finding) -> bytes:
    """A shorter input that shows the same fault, as short as some seconds of trying make it."""
    if finding.what.startswith(("slow", "large", "hangs")):
        return data  # the size is the point of it
    end = time.monotonic() + _MINIMISING
    size = max(1, len(data) // 2)
    while size and time.monotonic() < end:
        at = 0
        while at < len(data) and time.monotonic() < end:
            shorter = data[:at] + data[at + size :]
            found = judge(target, shorter)
            if isinstance(found, Finding) and found.what == finding.what:
                data = shorter
            else:
                at += size
        size //= 2
    return data
