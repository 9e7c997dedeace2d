"""What expressions read from streams, and what they do not."""

import textwrap
from pathlib import Path

import pytest

from filterd.engine.expressions import Compiler, ExpressionError
from filterd.engine.loader import Rules, load_rules
from filterd.engine.stream_words import collect_stream_words
from filterd.engine.words import collect_words

WORDS = """
from filterd import extractor, transform

@extractor("of_streams", returns=str, stage="tcp")
def of_streams(txn):
    return "s"

@extractor("of_both", returns=str, stage="connect")
def of_both(task):
    return "b"

@extractor("of_messages", returns=str)
def of_messages(task):
    return "m"

@transform("twice")
def twice(text):
    return text + text
"""


def loaded(folder: Path, source: str) -> Rules:
    (folder / "a.py").write_text(textwrap.dedent(source))
    return load_rules([folder])


def compiler(rules: Rules) -> Compiler:
    vocabulary, errors = collect_stream_words(rules.modules)
    assert errors == []
    return Compiler(vocabulary)


def test_the_words_of_rule_files_go_where_they_belong(tmp_path: Path) -> None:
    rules = loaded(tmp_path, WORDS)
    streams = compiler(rules)
    assert [streams.compile(text, stage="connect")(None) for text in ("of_streams.twice", "of_both")] == ["ss", "b"]
    with pytest.raises(ExpressionError, match="of_messages is known from stage message on"):
        streams.compile("of_messages", stage="connect")
    messages, errors = collect_words(rules.modules)
    assert errors == []
    assert "of_streams" not in messages.extractors
    assert {"of_both", "of_messages"} <= messages.extractors.keys()


@pytest.mark.parametrize("word", ["hostname", "mta_name", "flags", "settings_id", "request_header('x')", "threshold"])
def test_what_only_a_message_can_answer_is_not_there(tmp_path: Path, word: str) -> None:
    with pytest.raises(ExpressionError, match="there is no extractor"):
        compiler(loaded(tmp_path, WORDS)).compile(word, stage="connect")


@pytest.mark.parametrize("word", ["subject", "helo", "from('smtp')", "symbol('X')", "score"])
def test_what_comes_later_with_a_message_is_told_as_that(tmp_path: Path, word: str) -> None:
    with pytest.raises(ExpressionError, match="is known from stage"):
        compiler(loaded(tmp_path, WORDS)).compile(word, stage="connect")


def test_a_word_that_is_taken_is_told_once(tmp_path: Path) -> None:
    rules = loaded(
        tmp_path,
        """
        from filterd import extractor

        @extractor("port", stage="tcp")
        def port(txn): ...

        @extractor("subject")
        def subject(task): ...
        """,
    )
    assert [(str(one), one.place) for one in collect_stream_words(rules.modules)[1]] == [
        ("extractor 'port' is already there", f"{tmp_path / 'a.py'}:4")
    ]
    assert [one.place for one in collect_words(rules.modules)[1]] == [f"{tmp_path / 'a.py'}:7"]
