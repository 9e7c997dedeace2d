"""`python -m bench [NAME]... [ARGUMENT]...`: run the named measurements with what follows the first word that begins with "-";
`speed` where no name is given.
"""

import sys
from collections.abc import Callable
from itertools import takewhile

from bench import endurance, growth, hostile, reading, reloads, scaling, soak, speed, streams

MEASUREMENTS: dict[str, Callable[[], object]] = {
    "endurance": endurance.main,
    "growth": growth.main,
    "hostile": hostile.main,
    "reading": reading.main,
    "reloads": reloads.main,
    "scaling": scaling.main,
    "soak": soak.main,
    "speed": speed.main,
    "streams": streams.main,
}

names = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
arguments = sys.argv[1 + len(names) :]
for name in names or ["speed"]:
    if name not in MEASUREMENTS:
        raise SystemExit(f"no measurement {name}; there are {', '.join(MEASUREMENTS)}")
    # Each reads what it takes from there, as if it were a program of its own.
    sys.argv[1:] = arguments
    MEASUREMENTS[name]()
