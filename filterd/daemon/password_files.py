"""The files with the passwords of control listeners: one line with a hash in each, as `filterd password` prints it.

Promises: a file that others could read or change, or that holds anything but a hash, is refused before a listener opens, and no
text shows what is in it.
"""

from pathlib import Path

from filterd.daemon.config import Config
from filterd.daemon.schema import Listener
from filterd.engine.loader import Problem
from filterd.proto.passwords import PasswordHash, read_hash
from filterd.servers.control import Passwords

__all__ = ["password_problems", "passwords_of"]

KEYS = ("password_file", "enable_password_file")
_OTHERS = 0o007
_GROUP_WRITES = 0o020
_LONGEST = 4096


def passwords_of(door: Listener) -> Passwords:
    """The passwords of a listener. Raises OSError, and ValueError with the rest of a sentence about the file."""
    return Passwords(*(None if path is None else _read(path) for path in (getattr(door, key) for key in KEYS)))


def password_problems(config: Config) -> list[Problem]:
    """What is wrong with the password files of all listeners."""
    problems = []
    for name, door in config.listen.items():
        for key in KEYS:
            path: Path | None = getattr(door, key)
            if path is None:
                continue
            try:
                _read(path)
            except ValueError as error:
                problems.append(_problem(config, name, key, f"{path} {error}"))
            except OSError as error:
                problems.append(_problem(config, name, key, f"{path} cannot be read: {error.strerror}"))
    return problems


def _problem(config: Config, name: str, key: str, text: str) -> Problem:
    dotted = f"listen.{name}.{key}"
    return Problem(f"{config.origin(dotted)}: {dotted}", text)


def _read(path: Path) -> PasswordHash:
    with path.open("rb") as file:
        mode = path.stat().st_mode & 0o777
        if mode & (_OTHERS | _GROUP_WRITES):
            raise ValueError(f"may be read or changed by others (mode {mode:04o}): make it 0600 or 0640")
        text = file.read(_LONGEST).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1:
        raise ValueError(f"has {len(lines)} lines where one is expected, the hash of one password")
    return read_hash(lines[0])
