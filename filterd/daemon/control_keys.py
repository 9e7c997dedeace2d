"""The keys of a `[listen.NAME]` section that only a control listener has.

Promises: one of them in a section with another protocol is an error that names it; it would look as if it guarded something.
"""

from collections.abc import Iterator

from filterd.daemon.door_keys import DoorKeys
from filterd.daemon.fields import ExistingPath, FilePath, Listed, Network

__all__ = ["ControlKeys"]


class ControlKeys(DoorKeys):
    """Who may ask, and the files of a web interface."""

    password_file: FilePath | None = None
    enable_password_file: FilePath | None = None
    trusted: Listed[Network] = ("127.0.0.1", "::1")
    static_dir: ExistingPath | None = None

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if getattr(self, "protocol", None) != "control":
            misplaced = [name for name in ControlKeys.model_fields if name in self.model_fields_set]
            if misplaced:
                yield f'{", ".join(misplaced)}: only a listener with protocol = "control" has this'
