"""Measurements of the running daemon. `make bench` runs them all; none of them is part of the test suite."""
