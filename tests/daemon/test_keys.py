"""What keys there are, and what stands in them."""

from filterd.daemon.keys import Setting, keys_at, schema_keys, settings
from filterd.daemon.schema import Config


def test_the_keys_of_a_table_are_known_by_its_place() -> None:
    assert keys_at(())[:3] == ["listen", "workers", "supervisor"]
    assert keys_at(("actions",)) == ["reject", "soft reject", "rewrite subject", "add header", "greylist"]
    assert keys_at(("symbols", "ANY")) == ["score", "group", "groups", "description", "one_shot", "nshots"]
    assert keys_at(("dns", "fake_records", 3)) == ["name", "type", "replies", "rcode"]
    assert keys_at(("redis", "bulk")) == keys_at(("redis",))


def test_what_the_administrator_names_is_name_in_the_list_of_keys() -> None:
    keys = set(schema_keys())
    assert {"listen.NAME.bind", "symbols.NAME.score", "modules.NAME", 'actions."add header"', "dns.fake_records.name"} <= keys
    assert "listen.NAME" not in keys


def test_every_value_in_effect_is_told_with_its_origin_and_secrets_are_hidden() -> None:
    table = {
        "listen": {"scan": {"protocol": "http", "bind": "127.0.0.1:11333"}},
        "actions": {"reject": False},
        "dns": {"fake_records": [{"name": "a.test"}]},
        "redis": {"password": "hunter2", "bulk": {"db": 1, "password": "hunter2"}},
        "symbols": {"A": {"score": 1.5}},
        "modules": {"m": {"deep": {"token": "hunter2", "on": True}}},
    }
    config = Config.model_validate(table, context={"limits.tasks": "f.toml", "actions.reject": "--set"})
    lines = [str(setting) for setting in settings(config)]
    assert Setting("limits.tasks", "1000", "f.toml") in settings(config)
    assert {
        'listen.scan.bind = ["127.0.0.1:11333"]  # default',
        "listen.scan.timeout = 60  # default",
        "limits.tasks = 1000  # f.toml",
        "limits.message = 52428800  # default",
        "actions.reject = false  # --set",
        'actions."add header" = 6  # default',
        'dns.fake_records = [{ name = "a.test" }]  # default',
        'redis.password = "(hidden)"  # default',
        "redis.bulk.db = 1  # default",
        'redis.bulk.password = "(hidden)"  # default',
        "symbols.A.score = 1.5  # default",
        'modules.m.deep.token = "(hidden)"  # default',
        "modules.m.deep.on = true  # default",
    } <= set(lines)
    assert not [line for line in lines if "hunter2" in line or "symbols.A.group" in line or "redis.bulk.tls" in line]
