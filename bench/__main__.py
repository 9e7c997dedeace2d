"""`python -m bench [NAME]...`: run the named measurements, or all."""

import sys

from bench import growth, hostile, reading, reloads, soak, streams

MEASUREMENTS = {
    "growth": growth.main,
    "hostile": hostile.main,
    "reading": reading.main,
    "reloads": reloads.main,
    "soak": soak.main,
    "streams": streams.main,
}

for name in sys.argv[1:] or MEASUREMENTS:
    MEASUREMENTS[name]()
