"""The one language of the configuration: selectors, templates and conditions, compiled and checked when it loads."""

from filterd.engine.expressions.compiler import Compiler, standard_vocabulary
from filterd.engine.expressions.errors import ExpressionError
from filterd.engine.expressions.expression import Expression, WouldWait
from filterd.engine.expressions.vocabulary import Extractor, Transform, Vocabulary, VocabularyError

__all__ = [
    "Compiler",
    "Expression",
    "ExpressionError",
    "Extractor",
    "Transform",
    "Vocabulary",
    "VocabularyError",
    "WouldWait",
    "standard_vocabulary",
]
