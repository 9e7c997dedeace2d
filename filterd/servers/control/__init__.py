"""The control listener: who may ask (`access`), and what is answered (`endpoints`)."""

from filterd.servers.control.access import Access, Passwords
from filterd.servers.control.endpoints import Books, Control
from filterd.servers.control.map_files import MapFiles

__all__ = ["Access", "Books", "Control", "MapFiles", "Passwords"]
