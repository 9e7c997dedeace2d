"""Kept texts: what was read once is read again as it was, rules and what lies beside them included."""

from pathlib import Path
from typing import Any

import pytest

from filterd.engine import texts as texts_module
from filterd.engine.loader import LoadError, load_rules
from filterd.engine.rule_files import keep_rules
from filterd.engine.texts import Texts

RULE = "from {module} import WORD\nfrom filterd import rule\n\n@rule(WORD)\ndef found(task): return {what}\n"


def kept(folder: Path) -> Texts:
    texts = Texts()
    assert keep_rules([folder], texts) == []
    return Texts.kept(texts.pack())


def test_rules_are_what_they_were_whatever_the_disk_says(tmp_path: Path) -> None:
    (tmp_path / "_words.py").write_text("WORD = 'OLD'\n")
    (tmp_path / "one.py").write_text(RULE.format(module="_words", what="1 / 0"))
    texts = kept(tmp_path)
    (tmp_path / "_words.py").write_text("WORD = 'NEW'\n")
    (tmp_path / "one.py").write_text("broken(\n")
    (tmp_path / "two.py").write_text("also broken(\n")
    rules = load_rules([tmp_path], texts=texts)
    assert list(rules.registry.rules) == ["OLD"]
    assert rules.code == {str(tmp_path / "one.py"), str(tmp_path / "_words.py")}
    function: Any = rules.registry.rules["OLD"].function
    with pytest.raises(ZeroDivisionError) as raised:
        function(None)
    assert raised.traceback[-1].path == tmp_path / "one.py"
    with pytest.raises(LoadError):
        load_rules([tmp_path])


def test_files_that_are_gone_are_still_there(tmp_path: Path) -> None:
    package = tmp_path / "words"
    package.mkdir()
    (package / "__init__.py").write_text("from words.inner import WORD\n")
    (package / "inner.py").write_text("WORD = 'INNER'\n")
    (tmp_path / "one.py").write_text(RULE.format(module="words", what="True"))
    texts = kept(tmp_path)
    for file in (package / "inner.py", package / "__init__.py", tmp_path / "one.py"):
        file.unlink()
    assert list(load_rules([tmp_path], texts=texts).registry.rules) == ["INNER"]


def test_what_is_installed_goes_before_what_lies_beside(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("WORD = 'BESIDE'\nfrom filterd import rule\n@rule('B')\ndef b(task): return\n")
    (tmp_path / "one.py").write_text("from json import dumps\nfrom filterd import rule\n@rule(dumps(1))\ndef a(task): return\n")
    assert sorted(load_rules([tmp_path], texts=kept(tmp_path)).registry.rules) == ["1", "B"]


def test_what_is_not_kept_comes_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_module, "MOST_BESIDE", 0)
    (tmp_path / "_words.py").write_text("WORD = 'OLD'\n")
    (tmp_path / "one.py").write_text(RULE.format(module="_words", what="True"))
    texts = kept(tmp_path)
    (tmp_path / "_words.py").write_text("WORD = 'NEW'\n")
    assert list(load_rules([tmp_path], texts=texts).registry.rules) == ["NEW"]


def test_folders_of_other_things_are_left_out(tmp_path: Path) -> None:
    for name in ("__pycache__", "node_modules", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.py").write_text("")
    (tmp_path / "one.py").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    texts = Texts()
    texts.keep_beside(tmp_path)
    texts.keep_beside(tmp_path / "nowhere")
    again = Texts.kept(texts.pack())
    assert again.has(tmp_path / "one.py")
    for name in ("__pycache__", "node_modules", ".hidden", "loop"):
        assert not again.has(tmp_path / name / "x.py")


def test_what_was_not_read_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe is no UTF-8")
    texts = Texts()
    assert texts.read(tmp_path / "a.toml") == b"\xff\xfe is no UTF-8"
    assert texts.listing("all", lambda: [tmp_path / "a.toml"]) == [tmp_path / "a.toml"]
    again = Texts.kept(texts.pack())
    assert again.read(tmp_path / "a.toml") == b"\xff\xfe is no UTF-8"
    assert again.listing("all", list) == [tmp_path / "a.toml"]
    assert again.listing("other", lambda: [tmp_path]) == []
    with pytest.raises(FileNotFoundError, match="not among the files that were kept"):
        again.read(tmp_path / "b.toml")


def test_a_rule_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "one.py").symlink_to(tmp_path / "nowhere.py")
    assert [str(problem) for problem in keep_rules([tmp_path, tmp_path / "none"], Texts())] == [
        f"{tmp_path}/nowhere.py: this rule file cannot be read: No such file or directory",
        f"{tmp_path}/none: this rules folder does not exist",
    ]
