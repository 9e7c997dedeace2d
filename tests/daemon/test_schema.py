"""The configuration as values: typed, frozen, with the defaults of a file without a line."""

from typing import Any

import pytest
from pydantic import ValidationError

from filterd.daemon.schema import Config, Redis
from filterd.daemon.units import Address


def config(**table: Any) -> Config:
    return Config.model_validate(table)


def test_an_empty_file_is_a_configuration() -> None:
    assert config() == Config()
    assert not Config().listen


@pytest.mark.parametrize(
    ("table", "path", "value"),
    [
        ({"limits": {"task_timeout": "500ms"}}, "limits.task_timeout", 0.5),
        ({"limits": {"message": "10k"}}, "limits.message", 10_240),
        ({"limits": {"burst_timeout": 0}}, "limits.burst_timeout", 0.0),
        ({"workers": {"count": "auto"}}, "workers.count", "auto"),
        ({"rules": {"enable": "A*"}}, "rules.enable", ("A*",)),
        ({"dns": {"nameservers": "127.0.0.53, ::1 [::1]:5353"}}, "dns.nameservers",
         (Address("127.0.0.53", 53), Address("::1", 53), Address("::1", 5353))),
        ({"http": {"proxy": "http://me:pw@proxy:3128/"}}, "http.proxy", "http://me:pw@proxy:3128/"),
        ({"redis": {"sentinels": ["a", "b:1"]}}, "redis.sentinels", (Address("a", 26379), Address("b", 1))),
        ({"actions": {"rewrite subject": 7}}, "actions.rewrite_subject", 7.0),
        ({"actions": {"greylist": False}}, "actions.greylist", None),
    ],
)  # fmt: skip
def test_a_value_is_read_into_its_type(table: dict[str, Any], path: str, value: object) -> None:
    section, _, name = path.partition(".")
    found = getattr(getattr(config(**table), section), name)
    assert found == value
    assert type(found) is type(value)


def test_a_fake_record_has_a_type_in_any_case_and_an_rcode() -> None:
    records = config(
        dns={"fake_records": [{"name": "a.test", "type": "TXT", "replies": "x"}, {"name": "b.test", "rcode": "timeout"}]}
    )
    assert [(r.name, r.type, r.replies, r.rcode) for r in records.dns.fake_records] == [
        ("a.test", "txt", ("x",), "noerror"),
        ("b.test", "a", (), "timeout"),
    ]


def test_thresholds_go_from_the_strictest_action_to_the_mildest() -> None:
    actions = config(actions={"greylist": 1, "soft reject": 9, "reject": 10, "rewrite subject": 8, "add header": 7}).actions
    assert list(actions.thresholds.items()) == [
        ("reject", 10.0),
        ("soft reject", 9.0),
        ("rewrite subject", 8.0),
        ("add header", 7.0),
        ("greylist", 1.0),
    ]


def test_nothing_can_be_changed() -> None:
    frozen = config(
        listen={"a": {"protocol": "http", "bind": "127.0.0.1:0"}},
        symbols={"A": 1},
        modules={"m": {"deep": {"list": [{"x": 1}]}}},
    )
    changes: list[tuple[Any, Any]] = [
        (frozen.listen, "b"),
        (frozen.symbols, "A"),
        (frozen.modules["m"], "new"),
        (frozen.modules["m"]["deep"], "list"),
        (frozen.modules["m"]["deep"]["list"], 0),
        (frozen.modules["m"]["deep"]["list"][0], "x"),
        (Config().groups, "x"),
    ]
    for place, key in changes:
        with pytest.raises(TypeError):
            place[key] = 2
    with pytest.raises(ValidationError, match="frozen"):
        setattr(frozen.limits, "tasks", 5)  # noqa: B010  (the type checker knows that it cannot be done)


def test_the_two_bindings_to_any_free_port_are_not_the_same() -> None:
    listener = {"protocol": "http", "bind": ["127.0.0.1:0", "127.0.0.1:0"]}
    assert len(config(listen={"a": listener, "b": listener}).listen) == 2
    listener = {"protocol": "http", "bind": ["unix:/f.sock", "unix:/f.sock mode=0600"]}
    with pytest.raises(ValidationError, match=r"/f\.sock is bound twice, by a and by a"):
        config(listen={"a": listener})


def test_a_password_is_not_in_the_representation() -> None:
    assert "hunter2" not in repr(config(redis={"password": "hunter2", "bulk": {"password": "hunter2"}}))


@pytest.mark.parametrize(
    ("redis", "found"),
    [
        ({}, None),
        ({"bulk": {"db": 1}}, None),
        ({"servers": "a", "db": 2, "password": "p"}, ("a", 2, "p")),
        ({"servers": "a", "db": 2, "password": "p", "other": {"db": 3}}, ("a", 2, "p")),
        ({"servers": "a", "db": 2, "password": "p", "bulk": {"db": 3}}, ("a", 3, "p")),
        ({"servers": "a", "db": 2, "password": "p", "bulk": {"servers": "b"}}, ("b", 0, None)),
        ({"bulk": {"servers": "b", "db": 1}}, ("b", 1, None)),
    ],
)
def test_a_module_with_servers_of_its_own_stands_alone_and_another_is_laid_over_the_shared(redis: Any, found: object) -> None:
    servers = Redis.model_validate(redis).for_module("bulk")
    assert (servers and (servers.servers[0].host, servers.db, servers.password)) == found
