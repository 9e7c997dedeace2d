"""What is wrong with an expression, and where in its text."""

__all__ = ["ExpressionError"]

_BEFORE, _SHOWN = 60, 100  # characters of a long text shown before the place, and altogether


class ExpressionError(ValueError):
    """An expression that cannot be right. `problem` is the sentence, `text` the expression, `column` counts from 1.

    As text it is the sentence with its column, then the expression and a caret below the place.
    """

    def __init__(self, problem: str, text: str, at: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.text = text
        self.column = at + 1

    @property
    def sentence(self) -> str:
        """The problem and its column, in one line."""
        return f"{self.problem} (column {self.column})"

    @property
    def picture(self) -> str:
        """Two lines: the expression, or what is around the place in a long one, and the caret."""
        start = max(self.column - 1 - _BEFORE, 0)
        # One character stays one column wide, whatever it is.
        shown = "".join(character if character.isprintable() else " " for character in self.text[start : start + _SHOWN])
        return f"  {shown}\n  {' ' * (self.column - 1 - start)}^"

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.picture}"
