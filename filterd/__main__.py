"""The command `filterd`. The only place that patches the standard library, before anything else is imported."""

import sys

PLAIN = frozenset({"reload", "run", "status", "stop"})
"""Commands of the supervisor and of those who speak to it: they have no greenlets. `run --check-only` loads rules, though."""

if sys.argv[1:2] and sys.argv[1] in PLAIN and "--check-only" not in sys.argv:
    pass
else:
    from gevent import monkey

    monkey.patch_all()

from filterd.cli.main import main  # noqa: E402 - patching comes first

__all__ = ["main"]

if __name__ == "__main__":
    main()
