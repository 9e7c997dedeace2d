"""Files of a web interface over real connections: those of the folder, and no others."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.net.listen import Listener
from filterd.servers.control.static_files import LARGEST
from tests.support.control import READ, ask, serving_control


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Listener]:
    folder = tmp_path / "www"
    (folder / "js" / "app").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("s3cret")
    for name, content in {
        "index.html": "<p>hello</p>",
        "js/app/Main.js": "go()",
        "odd name.css": "p {}",
        "data.bin": "\x00",
        ".hidden": "s3cret",
    }.items():
        (folder / name).write_text(content)
    with (folder / "large.png").open("wb") as file:
        file.truncate(LARGEST + 1)
    os.mkfifo(folder / "pipe.txt")
    # Without a password, and from nobody trusted: the page asks for the password itself.
    with serving_control(trusted=[], passwords=(READ, None), static=folder) as listener:
        yield listener


@pytest.mark.parametrize(
    ("path", "content", "content_type"),
    [
        ("/", b"<p>hello</p>", "text/html; charset=utf-8"),
        ("/?x=y", b"<p>hello</p>", "text/html; charset=utf-8"),
        ("/index.html", b"<p>hello</p>", "text/html; charset=utf-8"),
        ("/js/app/Main.js?v=1", b"go()", "text/javascript; charset=utf-8"),
        ("/odd%20name.css", b"p {}", "text/css; charset=utf-8"),
        ("/data.bin", b"\x00", "application/octet-stream"),
    ],
)
def test_a_file_is_given_as_it_is(served: Listener, path: str, content: bytes, content_type: str) -> None:
    answer = ask(served, path)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, content, content_type)
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = ask(served, path, method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(content)))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/js/../../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/js%2f..%2f..%2fsecret.txt",
        "/.hidden", "/js", "/js/app/", "/js/app/main.js", "/nothing", "/%00", "/\\..\\secret.txt", "/large.png", "/pipe.txt",
        "/" + "x/" * 3000, "/%ff", "//secret.txt", "/index.html/x",
    ],
)  # fmt: skip
def test_nothing_else_is(served: Listener, path: str) -> None:
    answer = ask(served, path)
    assert (answer.status, answer.body) == (404, b"Not found")


def test_paths_of_the_controller_go_before_files(served: Listener, tmp_path: Path) -> None:
    (tmp_path / "www" / "stat").write_text("a file")
    assert ask(served, "/stat").status == 401
    assert ask(served, "/ping").body == b"pong\r\n"


def test_files_are_not_written_to(served: Listener) -> None:
    assert ask(served, "/index.html", body=b"x").status == 404
    assert ask(served, "/", body=b"x").status == 200
    assert ask(served, "/", body=b"x").headers["content-type"] == "text/plain"
