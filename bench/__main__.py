"""`python -m bench [NAME]...`: run the named measurements, or all."""

import sys

from bench import growth

MEASUREMENTS = {"growth": growth.main}

for name in sys.argv[1:] or MEASUREMENTS:
    MEASUREMENTS[name]()
