"""What keys there are and what stands in them: for messages about misspelt keys, for `--show-origin`, for the documentation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from filterd.daemon.origins import dotted, toml_text
from filterd.daemon.schema import Config, Section

__all__ = ["Setting", "keys_at", "schema_keys", "settings"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the result: the dotted key, the value as TOML, and the file or option it came from, or "default"."""

    key: str
    value: str
    origin: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value}  # {self.origin}"


def settings(config: Config) -> Iterator[Setting]:
    """Every value in effect, defaults included, in the order of the sections; secrets are hidden."""
    for path, value in _values(config, ()):
        key = dotted(path)
        origin = config.origin(key)
        if origin != "default" or value not in (None, ()):
            yield Setting(key, toml_text(value, key=path[-1]), origin)


def schema_keys(section: type[Section] = Config, under: tuple[str, ...] = ()) -> Iterator[str]:
    """Every dotted key there can be, with NAME for the part that the administrator chooses: `listen.NAME.bind`."""
    for key, annotation in _fields(section).items():
        below, is_named = _section(annotation), get_origin(annotation) is Mapping
        path = (*under, key, "NAME") if is_named else (*under, key)
        yield from schema_keys(below, path) if below else [dotted(path)]


def keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that the table at `path` can have."""
    section: type[Section] = Config
    for step in path:
        # A step that is no field (the name of a listener, an index) leaves us in the section of what is so named.
        section = _section(_fields(section).get(str(step))) or section
    return list(_fields(section))


def _fields(section: type[Section]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def _section(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section, get_args(annotation))), None)


def _values(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Section):
        for name, field in type(value).model_fields.items():
            yield from _values(getattr(value, name), (*path, field.alias or name))
        for name, own in (value.model_extra or {}).items():
            # [redis.NAME] is laid over [redis]: what it does not write is not its default.
            for key in own.model_fields_set:
                yield (*path, name, key), getattr(own, key)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _values(item, (*path, name))
    elif isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
        yield path, [item.model_dump(exclude_unset=True) for item in value]
    else:
        yield path, value
