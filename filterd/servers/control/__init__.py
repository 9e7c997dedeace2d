"""The control listener: who may ask (`access`), and what is answered (`endpoints`)."""

from filterd.servers.control.access import Access, Passwords
from filterd.servers.control.endpoints import Books, Control
from filterd.servers.control.map_files import MapFiles
from filterd.servers.control.static_files import StaticFiles

__all__ = ["Access", "Books", "Control", "MapFiles", "Passwords", "StaticFiles"]
