"""The grammar of expressions: selectors, templates and conditions, written by people and refused with the place.

    selector  := chain { ";" chain }
    template  := text with {chain} in it; "{{" and "}}" are the brackets themselves
    condition := and { ("or" | "|") and }          and := not { ("and" | "&") not }       not := "not" not | comparison
    comparison:= sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=") sum | "~" /pattern/ | ["not"] "in" (list | map | chain) ]
    sum       := unary { "+" unary }               unary := "!" unary | prefixes symbol | primary
    primary   := "(" condition ")" | text | number | true | false | g:group | symbol[options] | chain
    chain     := name [ "(" arguments ")" ] { "." name [ "(" arguments ")" ] | ":" name }

Whether a bare name is an extractor or a symbol is said by whoever knows the extractors: `is_value`. Where conditions have names
of their own (`names`), such a name, or `name:word`, stands for that condition.
"""

from collections.abc import Callable, Container
from typing import Final, NoReturn

from filterd.engine.expressions.chains import ChainParser
from filterd.engine.expressions.errors import ExpressionError
from filterd.engine.expressions.lexer import Token
from filterd.engine.expressions.nodes import (
    And,
    Arguments,
    Chain,
    Compare,
    GroupAtom,
    Literal,
    Member,
    Named,
    Names,
    Node,
    Not,
    Or,
    Sum,
    SymbolAtom,
    Template,
    Values,
)

__all__ = ["parse_condition", "parse_selector", "parse_template"]

_DEPTH: Final = 40
"""Brackets within brackets: more than this is no expression a person wrote, and Python's own stack has an end."""

_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_WORDS = frozenset({"and", "or", "not", "in", "matches"})


def parse_selector(text: str) -> tuple[Chain, ...]:
    """The chains of `text`, one at least. Raises ExpressionError."""
    parser = _Parser(text)
    chains = [parser.chain()]
    while parser.lexer.takes(";"):
        chains.append(parser.chain())
    parser.end("between two selectors stands ';'")
    return tuple(chains)


def parse_condition(
    text: str, *, is_value: Callable[[str], bool], has_prefixes: bool = False, names: Container[str] = ()
) -> Node:
    """The tree of `text`; `has_prefixes` allows ~, - and ^ before symbols. Raises ExpressionError."""
    parser = _Parser(text, is_value=is_value, has_prefixes=has_prefixes, names=names)
    node = parser.disjunction()
    parser.end("between two conditions stands 'and' or 'or'")
    return node


def parse_template(text: str) -> Template:
    """Its pieces in order. Raises ExpressionError."""
    pieces: list[str | Chain] = []
    plain = ""
    at = 0
    while at < len(text):
        character = text[at]
        if character in "{}" and text[at + 1 : at + 2] == character:
            plain += character
            at += 2
        elif character == "}":
            raise ExpressionError("'}' without '{'; a bracket itself is written '}}'", text, at)
        elif character == "{":
            if plain:
                pieces.append(plain)
            plain = ""
            parser = _Parser(text, at + 1)
            pieces.append(parser.chain())
            if parser.lexer.next.text != "}":
                parser.lexer.fail(f"expected '}}' after the value, found {parser.lexer.found}")
            at = parser.lexer.next.end
        else:
            plain += character
            at += 1
    return Template((*pieces, plain) if plain else tuple(pieces))


class _Parser(ChainParser):
    def __init__(
        self,
        text: str,
        at: int = 0,
        *,
        is_value: Callable[[str], bool] = lambda name: True,
        has_prefixes: bool = False,
        names: Container[str] = (),
    ) -> None:
        super().__init__(text, at)
        self.names = names
        self.is_value = is_value
        self.has_prefixes = has_prefixes
        self.depth = 0

    def end(self, advice: str) -> None:
        """Nothing is left."""
        if self.lexer.next.kind != "end":
            self.lexer.fail(f"unexpected {self.lexer.found}: {advice}")

    # -- conditions

    def disjunction(self) -> Node:
        at = self.lexer.next.at
        self._deeper()
        found = [self._conjunction()]
        while self.lexer.takes("|", "||", "or"):
            found.append(self._conjunction())
        self.depth -= 1
        return found[0] if len(found) == 1 else Or(tuple(found), at)

    def _conjunction(self) -> Node:
        at = self.lexer.next.at
        found = [self._negation()]
        while self.lexer.takes("&", "&&", "and"):
            found.append(self._negation())
        return found[0] if len(found) == 1 else And(tuple(found), at)

    def _negation(self) -> Node:
        if (token := self.lexer.takes("not")) is None:
            return self._comparison()
        self._deeper()
        operand = self._negation()
        self.depth -= 1
        return Not(operand, token.at)

    def _comparison(self) -> Node:
        lexer = self.lexer
        is_negated = lexer.next.text == "!"
        left = self._sum()
        operator = lexer.next
        if lexer.takes(*_COMPARISONS):
            if is_negated and isinstance(left, Not):
                lexer.fail(f"'!' binds closer than {operator.text!r}: write 'not' or brackets", operator.at)
            return Compare(operator.text, left, self._sum(), operator.at)
        if lexer.takes("~", "matches"):
            return Compare("~", left, self.pattern_literal(), operator.at)
        negative = lexer.takes("not")
        if lexer.takes("in"):
            member = Member(left, self._collection(), operator.at)
            return Not(member, negative.at) if negative else member
        if negative:
            lexer.fail("after 'not' here comes 'in'")
        return left

    def _sum(self) -> Node:
        at = self.lexer.next.at
        found = [self._unary()]
        while self.lexer.takes("+"):
            found.append(self._unary())
        return found[0] if len(found) == 1 else Sum(tuple(found), at)

    def _unary(self) -> Node:
        token = self.lexer.takes("!")
        if token is not None:
            self._deeper()
            operand = self._unary()
            self.depth -= 1
            return Not(operand, token.at)
        prefix = ""
        first = self.lexer.next
        while (mark := self.lexer.takes("~", "-", "^")) is not None:
            prefix += mark.text
        if prefix and not self.has_prefixes:
            self.lexer.fail(f"{prefix!r} before a symbol is for composites", first.at)
        return self._primary(prefix)

    def _primary(self, prefix: str) -> Node:  # noqa: RET503 - `fail` does not return
        lexer = self.lexer
        token = lexer.next
        if token.kind == "group":
            lexer.take()
            sign, _, name = token.text.partition(":")
            return GroupAtom(name, sign[1:], token.at, prefix)
        if token.kind == "name" and token.text.lower() not in _WORDS:
            lexer.take()
            if not prefix and token.text in ("true", "false"):
                return Literal(token.text == "true", token.at)
            return self._named(token, prefix)
        if prefix:
            lexer.fail(f"after {prefix!r} comes the name of a symbol, found {lexer.found}")
        if token.kind in ("string", "number"):
            lexer.take()
            return Literal(token.value, token.at)
        if token.kind == "regex":
            lexer.fail("a pattern stands behind '~'")
        if lexer.takes("("):
            inside = self.disjunction()
            lexer.needs(")", "to close the bracket")
            return inside
        lexer.fail(f"expected a condition, found {lexer.found}")

    def _named(self, token: Token, prefix: str) -> Node:
        lexer = self.lexer
        if lexer.next.text == ":" and (joined := f"{token.text}:{lexer.after_next().text}") in self.names:
            lexer.take()
            lexer.take()
            return Named(joined, token.at)
        if token.text in self.names and lexer.next.text not in ("(", ".", ":"):
            return Named(token.text, token.at)
        if not prefix and (lexer.next.text == "(" or self.is_value(token.text)):
            return self.rest_of_chain(token)
        if lexer.next.text == "[" and lexer.next.at == token.end:
            return SymbolAtom(token.text, token.at, prefix, lexer.option_filters())
        if not prefix and lexer.next.text in (".", ":"):
            # `BAYES_SPAM.score` is `symbol('BAYES_SPAM').score`.
            steps = self.steps()
            return Chain("symbol", Arguments((token.text,), (token.at,)), steps, token.at)
        return SymbolAtom(token.text, token.at, prefix)

    def _collection(self) -> Values | Names | Node:
        lexer = self.lexer
        token = lexer.next
        for opening, closing in (("(", ")"), ("[", "]"), ("{", "}")):
            if lexer.takes(opening):
                values = self.literals(closing)
                return Values(values, token.at)
        if token.kind == "name" and not self.is_value(token.text):
            lexer.take()
            return Names(token.text, token.at)
        return self._primary("")

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEPTH:
            self._too_deep()

    def _too_deep(self) -> NoReturn:
        self.lexer.fail(f"more than {_DEPTH} levels of brackets")
