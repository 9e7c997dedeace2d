"""Inputs made to break the parsers: `python -m tests.fuzz`, and a short run of each in the suite."""
