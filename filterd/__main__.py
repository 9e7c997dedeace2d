"""The command `filterd`. The only place that patches the standard library, before anything else is imported."""

from gevent import monkey

monkey.patch_all()

from filterd.cli.main import main  # noqa: E402 - patching comes first

__all__ = ["main"]

if __name__ == "__main__":
    main()
