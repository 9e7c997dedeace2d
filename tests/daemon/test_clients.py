"""The sections of the configuration as settings of the clients."""

from pathlib import Path

import pytest

from filterd.daemon.clients import client_problems, client_settings
from filterd.daemon.config import load_config
from filterd.daemon.schema import Config
from filterd.net.redis import RedisSettings
from filterd.net.resolver import FakeRecord
from filterd.net.tls import TlsSettings


def configured(folder: Path, toml: str) -> Config:
    conf = folder / "filterd.toml"
    conf.write_text(toml)
    return load_config(conf)


def test_nothing_written_is_what_the_clients_do_by_themselves(tmp_path: Path) -> None:
    settings = client_settings(configured(tmp_path, ""))
    assert (settings.redis, dict(settings.redis_modules)) == (None, {})
    assert (settings.dns.timeout, settings.dns.retransmits, settings.dns.max_requests) == (1.0, 5, 64)
    assert (settings.http.timeout, settings.http.connect_timeout, settings.http.tls) == (5.0, None, TlsSettings())


def test_every_key_arrives(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    settings = client_settings(
        configured(
            tmp_path,
            """
            [dns]
            nameservers = ["192.0.2.1", "[2001:db8::1]:5353"]
            timeout = "300ms"
            retransmits = 2
            max_requests = 10
            cache = 5
            [[dns.fake_records]]
            name = "mx.example.org"
            type = "A"
            replies = ["192.0.2.9"]
            [http]
            timeout = 3
            connect_timeout = 1
            proxy = "http://127.0.0.1:3128"
            tls_verify_host = false
            tls_ca_path = "ca.pem"
            """,
        )
    )
    assert settings.dns.nameservers == (("192.0.2.1", 53), ("2001:db8::1", 5353))
    assert (settings.dns.timeout, settings.dns.retransmits, settings.dns.max_requests, settings.dns.cache) == (0.3, 2, 10, 5)
    assert settings.dns.fake_records == (FakeRecord("mx.example.org", "a", ("192.0.2.9",)),)
    assert (settings.http.timeout, settings.http.connect_timeout, settings.http.proxy) == (3.0, 1.0, "http://127.0.0.1:3128")
    assert settings.http.tls == TlsSettings(verify_host=False, ca_path=str(tmp_path / "ca.pem"))


def test_redis_by_module(tmp_path: Path) -> None:
    settings = client_settings(
        configured(
            tmp_path,
            """
            [redis]
            servers = "127.0.0.1"
            password = "secret"
            [redis.bulk]
            db = 3
            [redis.elsewhere]
            servers = ["192.0.2.1:7000", "unix:/run/redis.sock"]
            tls = true
            """,
        )
    )
    assert settings.redis == RedisSettings(servers=(("127.0.0.1", 6379),), password="secret")
    assert dict(settings.redis_modules) == {
        "bulk": RedisSettings(servers=(("127.0.0.1", 6379),), password="secret", db=3),
        "elsewhere": RedisSettings(servers=(("192.0.2.1", 7000), "/run/redis.sock"), tls=TlsSettings()),
    }


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('[[dns.fake_records]]\nname = "a.example"\nreplies = ["nonsense"]', "[dns]: the fake record a.example a"),
        ('[http]\ntls_ca_path = "filterd.toml"', "[http]: "),
        ('[redis]\nservers = "127.0.0.1"\ncluster = true\ndb = 3', "[redis]: a Redis Cluster has no database but 0"),
    ],
)
def test_what_only_a_client_can_tell_is_told_before_anything_starts(tmp_path: Path, toml: str, told: str) -> None:
    (problem,) = client_problems(configured(tmp_path, toml))
    assert str(problem).startswith(told)


def test_all_sections_are_told_at_once(tmp_path: Path) -> None:
    toml = '[http]\ntls_ca_path = "filterd.toml"\n[redis]\nservers = "127.0.0.1"\ncluster = true\ndb = 3\n'
    assert [problem.where for problem in client_problems(configured(tmp_path, toml))] == ["[http]", "[redis]"]
