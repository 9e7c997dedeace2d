"""Password files: what others could read or change, and what is no hash, is refused before anything listens."""

from pathlib import Path

import pytest

from filterd.daemon.config import Config, load_config
from filterd.daemon.password_files import password_problems, passwords_of
from filterd.proto.passwords import hash_password

LINE = hash_password(b"s3cret", b"salt salt salt 1")


def configured(folder: Path, content: bytes | None, mode: int = 0o600, key: str = "password_file") -> Config:
    if content is not None:
        (folder / "control.password").write_bytes(content)
        (folder / "control.password").chmod(mode)
    conf = folder / "filterd.toml"
    conf.write_text(f'[listen.c]\nprotocol = "control"\nbind = "127.0.0.1:0"\n{key} = "control.password"\n')
    return load_config(conf)


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (LINE.encode(), 0o600),
        (LINE.encode(), 0o640),
        (LINE.encode(), 0o400),
        (b"# for the exporter\n\n" + LINE.encode() + b"\n\n", 0o600),
    ],
)
def test_a_file_with_one_hash_is_read(tmp_path: Path, content: bytes, mode: int) -> None:
    config = configured(tmp_path, content, mode)
    assert password_problems(config) == []
    passwords = passwords_of(config.listen["c"])
    assert passwords.read is not None
    assert passwords.read.fits(b"s3cret")
    assert passwords.write is None


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (None, 0, "cannot be read: No such file or directory"),
        (LINE.encode(), 0o644, "may be read or changed by others (mode 0644): make it 0600 or 0640"),
        (LINE.encode(), 0o660, "may be read or changed by others (mode 0660): make it 0600 or 0640"),
        (LINE.encode(), 0o602, "may be read or changed by others (mode 0602): make it 0600 or 0640"),
        (b"", 0o600, "has 0 lines where one is expected, the hash of one password"),
        ((LINE + "\n" + LINE).encode(), 0o600, "has 2 lines where one is expected, the hash of one password"),
        (b"s3cret\n", 0o600, 'is no hash as "filterd password" prints it'),
        (b"\xff\xfe\x00", 0o600, 'is no hash as "filterd password" prints it'),
    ],
)
@pytest.mark.parametrize("key", ["password_file", "enable_password_file"])
def test_any_other_is_refused_naming_the_key_and_not_its_content(
    tmp_path: Path, content: bytes | None, mode: int, told: str, key: str
) -> None:
    (problem,) = password_problems(configured(tmp_path, content, mode, key))
    assert problem.where.endswith(f"filterd.toml: listen.c.{key}")
    assert problem.text.startswith(f"{tmp_path / 'control.password'} {told}")
    assert "s3cret" not in str(problem)


def test_both_files_are_looked_at(tmp_path: Path) -> None:
    conf = tmp_path / "filterd.toml"
    conf.write_text('[listen.c]\nprotocol = "control"\nbind = "127.0.0.1:0"\npassword_file = "a"\nenable_password_file = "b"\n')
    assert len(password_problems(load_config(conf))) == 2
