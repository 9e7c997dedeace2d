"""The sections about what goes out besides the verdict (header fields, log lines), and about settings from elsewhere.

Promises: those of `daemon.schema`, which puts them into the `Config`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from filterd.daemon.fields import FilePath, MapSource, Named, Size, Timeout, nothing
from filterd.daemon.section import Section

__all__ = ["Conditions", "Header", "Headers", "Log", "SettingsMap"]

# RFC 5322 3.6.8: printable ASCII but for the colon.
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,998}")


def _title(value: Mapping[str, "Header"]) -> Mapping[str, "Header"]:
    for title, header in value.items():
        if header.name is None:
            _field_name(title)
    return value


def _field_name(value: str) -> str:
    if not _FIELD_NAME.fullmatch(value):
        raise ValueError(f'"{value}" is no name of a header field (printable ASCII without blank and colon)')
    return value


class Header(Section):
    """`[headers.NAME]`: a header field for the MTA to add or to remove; its `name` is NAME by default.

    `value` is a template, `when` a condition. `remove` takes away what the message came with, all or the occurrence of this
    number (negative: from the end), before the new one is added.
    """

    name: Annotated[str, AfterValidator(_field_name)] | None = None
    value: str | None = None
    when: str | None = None
    remove: bool | int = False
    order: int = -1

    @model_validator(mode="after")
    def _does_something(self) -> "Header":
        if self.value is None and self.remove is False:
            raise ValueError("it does nothing: it has neither value nor remove")
        return self


Headers = Annotated[Named[Header], AfterValidator(_title)]


class Log(Section):
    """`[log]`: no `file` means the standard error stream. `fields` are further values by name, `template` the line as text."""

    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "notice", "warning", "error", "crit", "alert", "emerg"] = "info"
    file: FilePath | None = None
    template: str | None = None
    fields: Named[str] = Field(default_factory=nothing)


def _names(value: Mapping[str, str]) -> Mapping[str, str]:
    for name in value:
        if not _NAME.fullmatch(name):
            raise ValueError(f'"{name}" is no name of a condition (small letters, digits and _)')
    return value


Conditions = Annotated[Named[str], AfterValidator(_names)]


class SettingsMap(Section):
    """`[settings_map]`: settings that are kept elsewhere. No `interval` is 5 s for a file and 5 min for a web address."""

    source: MapSource
    format: Literal["toml", "ucl"] = "toml"
    interval: Timeout | None = None
    max_size: Size = 2**20

    @property
    def path(self) -> str | None:
        """The absolute path of the file, None for a web address."""
        return self.source.removeprefix("file:") if self.source.startswith("file:") else None
