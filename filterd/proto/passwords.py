"""A password's hash as one line of text: made, read and compared (scrypt, RFC 7914).

The line says how it was made, `$scrypt$ln=14,r=8,p=1$SALT$HASH` with both values in base64 without padding, so that lines made
with other costs stay good.

Promises:

* Comparing takes the same time whatever the password, and never more memory than `MAX_MEMORY`: a line that would is refused
  when it is read.
* No error text shows the hash, or a part of it.
"""

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import scrypt
from hmac import compare_digest

__all__ = ["MAX_MEMORY", "SALT_BYTES", "BadHash", "PasswordHash", "hash_password", "read_hash"]

SALT_BYTES = 16
MAX_MEMORY = 128 * 2**20
"""Bytes that one comparison may use; several may run at once."""

_COST, _BLOCK, _LANES = 14, 8, 1
"""16 MiB and some 50 ms: a guess costs an attacker as much."""
_HASH_BYTES = 32
_LINE = re.compile(
    r"\$scrypt\$ln=(?P<ln>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2})\$(?P<salt>[A-Za-z\d+/]{11,86})\$(?P<hash>[A-Za-z\d+/]{43,86})",
    re.ASCII,
)


class BadHash(ValueError):
    """A text that is no such line; says what is wrong with it."""


@dataclass(frozen=True, slots=True, repr=False)
class PasswordHash:
    """One line, read. `cost` is the binary logarithm of scrypt's N."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    def fits(self, password: bytes) -> bool:
        """Whether it is the hash of this password. Takes the time and memory that scrypt is made to take."""
        return compare_digest(self._digest(password), self.digest)

    def _digest(self, password: bytes) -> bytes:
        return scrypt(
            password,
            salt=self.salt,
            n=2**self.cost,
            r=self.block,
            p=self.lanes,
            maxmem=MAX_MEMORY + 2**20,
            dklen=len(self.digest),
        )

    def __str__(self) -> str:
        salt, digest = (b64encode(part).decode().rstrip("=") for part in (self.salt, self.digest))
        return f"$scrypt$ln={self.cost},r={self.block},p={self.lanes}${salt}${digest}"


def hash_password(password: bytes, salt: bytes) -> str:
    """The line for a password; `salt` is `SALT_BYTES` random bytes. Raises ValueError for an empty password."""
    if not password:
        raise ValueError("an empty password protects nothing")
    empty = PasswordHash(_COST, _BLOCK, _LANES, salt, bytes(_HASH_BYTES))
    return str(PasswordHash(_COST, _BLOCK, _LANES, salt, empty._digest(password)))


def read_hash(line: str) -> PasswordHash:
    """The hash in a line that `hash_password` made. Raises BadHash."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise BadHash('is no hash as "filterd password" prints it ($scrypt$ln=14,r=8,p=1$…)')
    cost, block, lanes = (int(match[name]) for name in ("ln", "r", "p"))
    if not (10 <= cost <= 20 and block >= 1 and 1 <= lanes <= 4) or 128 * block * (2**cost + lanes) > MAX_MEMORY:
        raise BadHash(f"has costs outside of what is allowed here (ln={cost}, r={block}, p={lanes})")
    salt, digest = _decoded(match["salt"]), _decoded(match["hash"])
    return PasswordHash(cost, block, lanes, salt, digest)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise BadHash("holds base64 that is broken") from None
