"""Measurements of the running daemon. `make bench` measures the speed; `python -m bench NAME` any other."""
