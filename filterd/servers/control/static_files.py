"""The files of a web interface: a folder's, as they are, for everybody who can reach the listener.

Promises: nothing outside the folder is read, nothing hidden, nothing but files; reading one does not hold the loop.
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from filterd.net.threads import in_thread
from filterd.proto.control import Reply
from filterd.proto.http1 import Request

__all__ = ["StaticFiles"]

LARGEST = 16 * 2**20

_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
# Its pages may be kept, but are asked for again; nobody puts them into a frame or makes of a file what it is not.
_HEADERS = (("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "SAMEORIGIN"))


class StaticFiles:
    """Answers GET and HEAD for files below `folder`, with index.html for the root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reply(self, request: Request) -> Reply | None:
        """The file that a request names; None where there is none."""
        if request.method not in ("GET", "HEAD"):
            return None
        steps = unquote(request.target.partition("?")[0].partition("#")[0], errors="replace").split("/")
        names = [step for step in steps if step] or ["index.html"]
        # A name that begins with a dot is hidden, or leads upwards.
        if any(name.startswith(".") or "\\" in name or "\0" in name for name in names):
            return None
        content = in_thread(_content, self._folder.joinpath(*names))
        if content is None:
            return None
        return Reply(200, content, _TYPES.get(Path(names[-1]).suffix.lower(), "application/octet-stream"), _HEADERS)


def _content(path: Path) -> bytes | None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return None
        with path.open("rb") as file:
            return file.read(LARGEST)
    except (OSError, ValueError):
        return None
