"""The settings of a Redis: what a connection begins with."""

from filterd.net.redis_settings import RedisSettings
from filterd.net.redis_wire import Login
from filterd.net.tls import TlsSettings


def test_a_sentinel_has_a_login_of_its_own_and_no_database() -> None:
    tls = TlsSettings()
    settings = RedisSettings(db=3, username="a", password="b", sentinel_username="c", sentinel_password="d", tls=tls)
    assert settings.login == Login(3, "a", "b", tls)
    assert settings.sentinel_login == Login(0, "c", "d", tls)
