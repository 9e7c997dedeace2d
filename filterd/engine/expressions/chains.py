"""The lower half of the grammar: an extractor with its arguments and steps, and the literals that arguments are."""

from filterd.engine.expressions.lexer import Lexer, Token
from filterd.engine.expressions.nodes import Argument, Arguments, Chain, PatternLiteral, Step

__all__ = ["ChainParser"]

_EMPTY = Arguments()
_Values = list[Argument | PatternLiteral]


class ChainParser:
    """Reads chains from `text`, from `at` on. Raises ExpressionError."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.lexer = Lexer(text, at)

    def chain(self) -> Chain:
        """One extractor and its steps."""
        if self.lexer.next.kind != "name":
            self.lexer.fail(f"expected the name of a value, found {self.lexer.found}")
        return self.rest_of_chain(self.lexer.take())

    def rest_of_chain(self, token: Token) -> Chain:
        arguments = self._arguments()
        return Chain(token.text, arguments, self.steps(), token.at)

    def steps(self) -> tuple[Step, ...]:
        steps = []
        while (mark := self.lexer.takes(".", ":")) is not None:
            name = self.lexer.next
            if name.kind != "name":
                self.lexer.fail(f"expected a name after {mark.text!r}, found {self.lexer.found}")
            self.lexer.take()
            steps.append(Step(name.text, self._arguments(), mark.text == ":", name.at))
        return tuple(steps)

    def _arguments(self) -> Arguments:
        if self.lexer.takes("(") is None:
            return _EMPTY
        values: _Values = []
        places: list[int] = []
        named: dict[str, Argument] = {}
        while self.lexer.next.text != ")":
            self._argument(values, places, named)
            if self.lexer.takes(",") is None and self.lexer.next.text != ")":
                self.lexer.fail(f"expected ',' or ')' after an argument, found {self.lexer.found}")
        self.lexer.take()
        return Arguments(tuple(values), tuple(places), tuple(named.items()))

    def _argument(self, values: _Values, places: list[int], named: dict[str, Argument]) -> None:
        lexer = self.lexer
        token = lexer.next
        if token.kind == "regex":
            places.append(token.at)
            values.append(self.pattern_literal())
        elif lexer.takes("["):
            places.append(token.at)
            values.append(self.literals("]"))
        elif lexer.takes("{"):
            self._table(values, places, named, token)
        elif token.kind == "name":
            lexer.take()
            self._name_or_value(token, values, places, named)
        else:
            places.append(token.at)
            values.append(self._literal())

    def _table(self, values: _Values, places: list[int], named: dict[str, Argument], opening: Token) -> None:
        """Rspamd's `{name = value}` is as good as `name=value`, its `{a, b}` is a list."""
        lexer = self.lexer
        listed: _Values = []
        while lexer.takes("}") is None:
            token = lexer.next
            if token.kind == "name":
                lexer.take()
                self._name_or_value(token, listed, [], named)
            else:
                listed.append(self._literal())
            if lexer.takes(",") is None and lexer.next.text != "}":
                lexer.fail(f"expected ',' or '}}', found {lexer.found}")
        if listed:
            values.append(tuple(listed))
            places.append(opening.at)

    def _name_or_value(
        self,
        token: Token,
        values: _Values,
        places: list[int],
        named: dict[str, Argument],
    ) -> None:
        lexer = self.lexer
        if lexer.next.text != "=":
            places.append(token.at)
            values.append(bare(token))
            return
        lexer.take()
        if token.text in named:
            lexer.fail(f"{token.text} is given twice", token.at)
        opening = lexer.takes("[", "{")
        if opening is not None:
            named[token.text] = self.literals("]" if opening.text == "[" else "}")
        else:
            named[token.text] = self._literal()

    def literals(self, closing: str) -> tuple[str | int | float, ...]:
        found = []
        while self.lexer.takes(closing) is None:
            found.append(self._literal())
            if self.lexer.takes(",") is None and self.lexer.next.text != closing:
                self.lexer.fail(f"expected ',' or {closing!r} in the list, found {self.lexer.found}")
        return tuple(found)

    def _literal(self) -> str | int | float:
        token = self.lexer.next
        if token.kind not in ("string", "number", "name"):
            self.lexer.fail(f"expected a value, found {self.lexer.found}")
        self.lexer.take()
        return bare(token)

    def pattern_literal(self) -> PatternLiteral:
        token = self.lexer.next
        if token.kind not in ("regex", "string"):
            self.lexer.fail(f"expected a /pattern/, found {self.lexer.found}")
        self.lexer.take()
        return PatternLiteral(str(token.value), token.flags, token.at)


def bare(token: Token) -> str | int | float:
    if token.kind == "name" and token.text in ("true", "false"):
        return token.text == "true"
    return token.value
