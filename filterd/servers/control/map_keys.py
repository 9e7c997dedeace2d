"""Single keys of maps as a control listener shows and changes them, in every worker and without the map's file.

Promises: what is changed is what a rule would change with `maps["NAME"][key] = value`; what cannot be is told and changes
nothing.
"""

from typing import Any

from filterd.mail.live_map import LiveMap
from filterd.mail.maps import BadKey
from filterd.servers.control.map_files import MapRefused

__all__ = ["change_key", "list_edits", "look_up"]


def list_edits(live: LiveMap) -> dict[str, Any]:
    """What differs from the map's source: values by key, true for a key without one, false for a key that is removed."""
    head = {"map": live.name, "type": live.value.type, "keys": len(live), "has_source": live.has_source}
    return {**head, "edits": dict(live.edits)}


def look_up(live: LiveMap, key: str | None) -> dict[str, Any]:
    """What a rule would find for the key. Raises MapRefused."""
    if key is None:
        raise MapRefused(400, "a key is needed: key=…")
    value = live.get(key)
    if value is None:
        raise MapRefused(404, f"map {live.name}: nothing fits {key!r}")
    return {"map": live.name, "key": key, "value": value}


def change_key(live: LiveMap, verb: str, key: str | None, value: str) -> dict[str, Any]:
    """`setkey`, `delkey`, or `undokey`, which lets the source count again. Raises MapRefused."""
    if key is None:
        raise MapRefused(400, "a key is needed: key=…")
    try:
        match verb:
            case "setkey":
                live.add(key, value.rstrip("\r\n") or True)
                is_done = True
            case "delkey":
                is_done = live.discard(key)
            case _:
                is_done = live.undo(key)
    except BadKey as error:
        raise MapRefused(400, str(error)) from None
    if not is_done:
        what = "there is no line with just this key" if verb == "delkey" else "this key was not changed"
        raise MapRefused(404, f"map {live.name}: {key!r}: {what}")
    return {"success": True, "keys": len(live)}
