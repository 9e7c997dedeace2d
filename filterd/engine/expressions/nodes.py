"""What an expression says, as a tree of values; `at` is the place in the text, from 0."""

from dataclasses import dataclass, field

from filterd.engine.expressions.lexer import OptionFilter

__all__ = [
    "And",
    "Argument",
    "Arguments",
    "Chain",
    "Compare",
    "GroupAtom",
    "Literal",
    "Member",
    "Named",
    "Names",
    "Node",
    "Not",
    "Or",
    "PatternLiteral",
    "Step",
    "Sum",
    "SymbolAtom",
    "Template",
    "Values",
]

Argument = str | int | float | bool | tuple[object, ...]


@dataclass(frozen=True, slots=True)
class PatternLiteral:
    """`/text/flags`."""

    text: str
    flags: str
    at: int


@dataclass(frozen=True, slots=True)
class Arguments:
    """What stands in brackets after a name: literals in order, each with its place, and `name=value` ones."""

    values: tuple[Argument | PatternLiteral, ...] = ()
    places: tuple[int, ...] = ()
    named: tuple[tuple[str, Argument], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """`.name(…)`, or `:name` for an attribute."""

    name: str
    arguments: Arguments
    is_attribute: bool
    at: int


@dataclass(frozen=True, slots=True)
class Chain:
    """`name(…).step.step`: an extractor and what is made of its value."""

    name: str
    arguments: Arguments
    steps: tuple[Step, ...]
    at: int


@dataclass(frozen=True, slots=True)
class SymbolAtom:
    """A symbol's name, in a composite with its prefixes; true where it was found with all of these options."""

    name: str
    at: int
    prefix: str = ""
    options: tuple[OptionFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupAtom:
    """`g:name`, `g+:name`, `g-:name`: any symbol of a group, of those with a positive score, with a negative one."""

    name: str
    sign: str
    at: int
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, true or false."""

    value: str | int | float | bool
    at: int


@dataclass(frozen=True, slots=True)
class Named:
    """A condition that has a name where the expression stands, as `from` and `header:subject` in settings."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Values:
    """`('a', 'b')` after `in`."""

    values: tuple[str | int | float, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Names:
    """A bare name after `in`: a map."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple["Node", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple["Node", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Sum:
    operands: tuple["Node", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`; the operator `~` has a pattern on its right."""

    operator: str
    left: "Node"
    right: "Node | PatternLiteral"
    at: int


@dataclass(frozen=True, slots=True)
class Member:
    left: "Node"
    right: "Node | Values | Names"
    at: int


@dataclass(frozen=True, slots=True)
class Template:
    """Text with values in it; a str stands for itself."""

    pieces: tuple[str | Chain, ...] = field(default=())


Node = Chain | SymbolAtom | GroupAtom | Named | Literal | Not | And | Or | Sum | Compare | Member
