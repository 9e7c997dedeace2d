"""What expressions can read from a stream: the words about a connection, those of rule files among them.

A message's words stand beside them, so that one in a wrong place is told when it is known, and not that it does not exist.
"""

from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType
from typing import Any, Final

from filterd.engine.expressions.extractors import EXTRACTORS
from filterd.engine.expressions.transforms import TRANSFORMS
from filterd.engine.expressions.vocabulary import Extractor, Transform, Vocabulary, VocabularyError
from filterd.engine.registry import RegistrationError
from filterd.engine.words import WORDS
from filterd.task.txn import Txn

__all__ = ["STREAM_EXTRACTORS", "collect_stream_words"]

_SHARED: Final = frozenset(("id", "list", "env", "ip", "uid"))
"""Words of messages about a connection that a stream can answer; the others of that stage it cannot."""


def _variable(txn: Txn, name: str) -> Any:
    return txn.vars.get(name)


def _text(data: bytes | None) -> str | None:
    # What a server or client sends is bytes of no known charset, and expressions compare text.
    return None if data is None else data.decode("latin-1")


def _destination(txn: Txn, field: int) -> Any:
    where = txn.destination
    return where[field] if isinstance(where, tuple) else None


STREAM_EXTRACTORS: Final = (
    Extractor("port", lambda txn: txn.port, int, "connect"),
    Extractor("destination", lambda txn: _destination(txn, 0), str, "connect"),
    Extractor("destination_port", lambda txn: _destination(txn, 1), int, "connect"),
    Extractor("listener", lambda txn: txn.listener, str, "connect"),
    Extractor("stage", lambda txn: txn.stage, str, "connect"),
    Extractor("var", _variable, object, "connect"),
    Extractor("req", lambda txn: _text(txn.req.dup()) if txn.req.readable else None, str, "connect"),
    Extractor("req_len", lambda txn: txn.req.in_len, int, "connect"),
    Extractor("res", lambda txn: _text(txn.res.dup()) if txn.res.readable else None, str, "connect"),
    Extractor("res_len", lambda txn: txn.res.in_len, int, "connect"),
)
"""Those that messages have not, or otherwise."""


def collect_stream_words(modules: Iterable[ModuleType]) -> tuple[Vocabulary, list[RegistrationError]]:
    """The words for streams, and those that cannot be added. What is wrong for messages too is told by `collect_words`."""
    own = {one.name for one in STREAM_EXTRACTORS}
    taken = [one for one in EXTRACTORS if one.name not in own and (one.stage != "connect" or one.name in _SHARED)]
    vocabulary = Vocabulary([*taken, *STREAM_EXTRACTORS], TRANSFORMS)
    errors = []
    for module in modules:
        for word in getattr(module, WORDS, ()):
            is_streams = isinstance(word, Extractor) and word.stage == "tcp"
            try:
                vocabulary.add(_connected(word) if is_streams else word)
            except VocabularyError as error:
                if is_streams:
                    errors.append(RegistrationError(str(error), word.place))
    return vocabulary, errors


def _connected(word: Extractor | Transform) -> Extractor:
    assert isinstance(word, Extractor)
    return replace(word, stage="connect")
