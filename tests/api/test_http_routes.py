"""Routes: marking them, and finding what is wrong with them when rule files are loaded."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from filterd.api.http_routes import collect_routes


def loaded(path: Path, source: str) -> ModuleType:
    path.write_text(f"from filterd.api import http\n{source}")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_routes_of_all_files_are_found_by_name(tmp_path: Path) -> None:
    one = loaded(tmp_path / "one.py", "@http.route('A')\ndef a(task, reply): ...\n")
    two = loaded(tmp_path / "two.py", "@http.route('B')\ndef b(task, reply): ...\ndef rule(task): http.query('u', route='A')\n")
    routes, problems = collect_routes([one, two, loaded(tmp_path / "none.py", "")])
    assert routes == {"A": one.a, "B": two.b}
    assert problems == []


def test_a_route_that_nobody_has_is_found_with_file_and_line(tmp_path: Path) -> None:
    source = (
        "def rule(task):\n    http.query('u', 'data',\n        route='HTTP_REPLY')\n    http.query('u', route=rule.__name__)\n"
    )
    module = loaded(tmp_path / "one.py", source)
    _, [problem] = collect_routes([module])
    assert (problem.file, problem.line, problem.text) == (str(tmp_path / "one.py"), 4, "there is no route 'HTTP_REPLY'")


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    mark = "@http.route('A')\ndef a(task, reply): ...\n"
    with pytest.raises(ValueError, match="route 'A' is there already"):
        loaded(tmp_path / "one.py", mark + mark)
    _, [problem] = collect_routes([loaded(tmp_path / "one.py", mark), loaded(tmp_path / "two.py", mark)])
    assert (problem.file, problem.line) == (str(tmp_path / "two.py"), 2)
