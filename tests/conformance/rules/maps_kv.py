"""What maps of three kinds give for keys that are there and keys that are not."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address

from filterd import Task, maps, register_symbol

EXPECTED: Mapping[str, Mapping[str, object]] = {
    "radix": {"198.51.100.7": "one net", "::1": "another", "203.0.113.1": True, "192.0.2.1": None},
    "map": {"first": "value", "second.example.com": "one more", "third": True, "thirds": None},
    "regexp": {"first": "value", "second.example.com": "one more", "third": True, "fourth": None},
}


def compared(name: str) -> Callable[[Task], tuple[object, ...]]:
    def compare(task: Task) -> tuple[object, ...]:
        found = [(key, maps[name].get(key), value) for key, value in EXPECTED[name].items()]
        if name == "radix":
            found += [(key, maps[name].get(ip_address(key)), value) for key, value in EXPECTED[name].items()]
        return True, [f"{key}: {got!r}, not {value!r}" for key, got, value in found if got != value] or "no worry"

    return compare


for name in EXPECTED:
    register_symbol(name=f"{name.upper()}_KV", callback=compared(name), score=1.0)
