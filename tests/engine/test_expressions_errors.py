"""What is wrong with an expression is told when it is compiled: the sentence, the column, the text with a caret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.engine.expressions import Compiler, ExpressionError, Vocabulary, VocabularyError, standard_vocabulary
from filterd.engine.expressions.expression import ExpressionKind
from filterd.engine.expressions.lexer import MAX_LENGTH
from filterd.engine.expressions.patterns import Pattern
from filterd.engine.expressions.vocabulary import Extractor, Transform
from tests.support.expressions import task_of

KINDS: tuple[ExpressionKind, ...] = ("selector", "template", "condition", "composite")


def error_of(text: str, kind: ExpressionKind = "selector", *, stage: str = "score") -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        Compiler(maps={"friends": {}}, symbols=["known_symbol"]).compile(text, kind, stage=stage)
    return caught.value


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("hedaer('x')", 1, "there is no extractor 'hedaer'; did you mean 'header'?"),
        ("zzzz", 1, "there is no extractor 'zzzz'"),
        ("ip.lowr", 4, "there is no transform 'lowr'; did you mean 'lower'?"),
        ("from:domian", 6, "there is no transform 'domian'; did you mean 'domain'?"),
        ("from:domain('x')", 6, "domain takes no arguments"),
        ("size.lower", 6, "lower takes text, and there is a whole number"),
        ("ip.first", 4, "first takes a list of anything, and there is text"),
        ("parts.join.sort", 12, "sort takes a list of anything, and there is text"),
        ("parts.filter_string_nils", 7, "filter_string_nils takes a list of texts, and there is a list of parts"),
        ("header()", 1, "header: missing a required argument: 'name'"),
        ("ip('x')", 1, "ip: too many positional arguments"),
        ("header('x', 'fall')", 13, "header: 'fall' is not one of 'full', 'strong'"),
        ("from('foo')", 6, "from: 'foo' is not one of 'smtp', 'mime', 'any', 'orig'"),
        ("ip.ipmask(x)", 11, "ipmask: bits: 'x' is no whole number"),
        ("ip.ipmask(8, bits6=x)", 4, "ipmask: bits6: 'x' is no whole number"),
        ("specific_urls(limit=1, limit=2)", 24, "limit is given twice"),
        ("specific_urls(nolimit=1)", 1, "specific_urls: got an unexpected keyword argument 'nolimit'"),
        ("header(['a'])", 8, "header: name: ('a',) is no text"),
        ("header(/a/)", 8, "header: name: /a/ is no text"),
        ("header('x').regexp('(')", 20, "regexp: no pattern: missing ): ("),
        ("header('x').regexp(/(?<=a)b/)", 20, "regexp: no pattern: invalid perl operator: (?<"),
        ("header('x').regexp(/a/q)", 20, "regexp: unknown flag 'q' of a pattern; there are i, m and s"),
        ("received('nope')", 10, "received: there is no 'nope' in it; there are from_hostname, "),
        ("ip.in_map('fiends')", 11, "there is no map 'fiends'; did you mean 'friends'?"),
        ("", 1, "expected the name of a value, found the end"),
        ("ip.", 4, "expected a name after '.', found the end"),
        ("ip;", 4, "expected the name of a value, found the end"),
        ("ip user", 4, "unexpected 'user': between two selectors stands ';'"),
        ("ip(", 4, "expected a value, found the end"),
        ("ip('x' 'y')", 8, "expected ',' or ')' after an argument, found \"'y'\""),
        ("list(['a' 'b'])", 11, "expected ',' or ']' in the list, found \"'b'\""),
        ("list({a b})", 9, "expected ',' or '}', found 'b'"),
        ("'x'", 1, "expected the name of a value, found \"'x'\""),
        ("header('x').re(1)", 16, "re: 1 is no pattern"),
        ("header('x').sub(2, 'a')", 17, "sub: 2 is no pattern"),
        ("1" * 101, 1, "a number of more than 100 digits"),
        ("id('x", 4, "the text that begins with ' has no end"),
        ('id("x', 4, 'the text that begins with " has no end'),
        ("id(/x)", 4, "the pattern that begins with / has no end"),
        ("ip § 3", 4, "unexpected '§'"),
    ],
)
def test_what_is_wrong_with_a_selector(text: str, column: int, problem: str) -> None:
    error = error_of(text)
    assert error.problem.startswith(problem)
    assert error.column == column


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("ipp == 3", 1, "there is no value 'ipp'; did you mean 'ip'?"),
        ("known_symbl", 1, "there is no value 'known_symbl'; did you mean 'known_symbol'?"),
        ("bayes_spam", 1, "there is no value 'bayes_spam'; a symbol with such a name is symbol('bayes_spam')"),
        ("!A > 3", 4, "'!' binds closer than '>': write 'not' or brackets"),
        ("A > 3", 1, "a symbol is there or not; its score is A.score"),
        ("3 < A", 5, "a symbol is there or not; its score is A.score"),
        ("ip > 3", 4, "text is never > a whole number"),
        ("(A | B) == 1", 9, "yes or no is never == a whole number"),
        ("size in ('a')", 9, "a whole number is never 'a'"),
        ("size ~ /3/", 1, "'~' looks into text, and there is a whole number"),
        ("ip ~ 3", 6, "expected a /pattern/, found '3'"),
        ("ip ~ /(/", 6, "no pattern: missing ): ("),
        ("/x/", 1, "a pattern stands behind '~'"),
        ("ip + A > 1", 1, "'+' adds numbers and counts symbols, and there is text"),
        ("-A", 1, "'-' before a symbol is for composites"),
        ("(A", 3, "expected ')' to close the bracket, found the end"),
        ("A B", 3, "unexpected 'B': between two conditions stands 'and' or 'or'"),
        ("A and", 6, "expected a condition, found the end"),
        ("A not B", 7, "after 'not' here comes 'in'"),
        ("not in", 5, "expected a condition, found 'in'"),
        ("ip in nomap", 7, "there is no map 'nomap'"),
        ("A[x", 2, "the list of options has no ']'"),
        ("A[x,]", 5, "an option is missing"),
        ("A[/(/]", 3, "no pattern: missing ): ("),
        ("nope(1) == 2", 1, "there is no extractor 'nope'"),
        ("A.lower", 3, "lower takes text, and there is a hit"),
    ],
)
def test_what_is_wrong_with_a_condition(text: str, column: int, problem: str) -> None:
    error = error_of(text, "condition")
    assert (error.problem, error.column) == (problem, column)


def test_what_is_wrong_with_a_prefix() -> None:
    assert error_of("~(A & B)", "composite").sentence == "after '~' comes the name of a symbol, found '(' (column 2)"
    assert error_of("A & ^'x'", "composite").sentence == "after '^' comes the name of a symbol, found \"'x'\" (column 6)"


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("{ip", 4, "expected '}' after the value, found the end"),
        ("a}", 2, "'}' without '{'; a bracket itself is written '}}'"),
        ("{}", 2, "expected the name of a value, found '}'"),
        ("is {ip.lowr}", 8, "there is no transform 'lowr'; did you mean 'lower'?"),
        ("{ip user}", 5, "expected '}' after the value, found 'user'"),
    ],
)
def test_what_is_wrong_with_a_template(text: str, column: int, problem: str) -> None:
    error = error_of(text, "template")
    assert (error.problem, error.column) == (problem, column)


def test_the_text_is_shown_with_a_caret_below_the_place() -> None:
    assert str(error_of("from('smtp').lowr")) == (
        "there is no transform 'lowr'; did you mean 'lower'? (column 14)\n  from('smtp').lowr\n               ^"
    )


def test_of_a_long_text_only_what_is_around_the_place_is_shown() -> None:
    error = error_of("ip.lower" + ".upper" * 100 + ".\tlowr")
    shown, caret = error.picture.splitlines()
    assert len(shown) <= 102
    assert shown[caret.index("^") :].startswith("lowr")


@pytest.mark.parametrize(
    ("text", "kind", "stage", "problem"),
    [
        ("score", "selector", "message", "score is known from stage score on, and this is evaluated at stage message"),
        ("A", "condition", "message", "A is known from stage results on, and this is evaluated at stage message"),
        ("g:bad", "condition", "data", "group bad is known from stage score on, and this is evaluated at stage data"),
        ("score > 4", "condition", "results", "score is known from stage score on, and this is evaluated at stage results"),
        ("symbols", "selector", "results", "symbols is known from stage score on, and this is evaluated at stage results"),
        ("from", "selector", "rcpt", "from is known from stage message on, and this is evaluated at stage rcpt"),
        ("rcpts('smtp')", "selector", "mail", "rcpts is known from stage rcpt on, and this is evaluated at stage mail"),
        ("{subject}", "template", "connect", "subject is known from stage message on, and this is evaluated at stage connect"),
    ],
)
def test_what_is_not_known_yet_is_refused_naming_both_stages(text: str, kind: ExpressionKind, stage: str, problem: str) -> None:
    assert error_of(text, kind, stage=stage).problem == problem


def test_what_is_known_by_then_is_fine() -> None:
    for text, stage in (("from('smtp')", "mail"), ("ip", "connect"), ("time('connect')", "connect"), ("helo", "message")):
        Compiler().compile(text, stage=stage)


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_an_end_to_length_and_depth(kind: ExpressionKind) -> None:
    assert "characters" in error_of("ip" + " " * MAX_LENGTH, kind).problem
    for text in ("(" * 1000 + "A" + ")" * 1000, "not " * 1000 + "A", "!" * 1000 + "A"):
        if kind in ("condition", "composite"):
            assert error_of(text, kind).problem == "more than 40 levels of brackets"


def test_a_pattern_has_an_end_too() -> None:
    for text in ("a" * 5000, "(((a{100}){100}){100}){100}", "\ud800"):
        with pytest.raises(ValueError, match="pattern"):
            Pattern(text)


PIECES = [*"AB.ip()'\"/~-^+<>=!&|{}[],;:0 \\\n", "from", "header", " and ", " in ", " not ", "('x')", "g:a", "~ /a/"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=20).map("".join) | st.text(max_size=20)


@given(TEXTS, st.sampled_from(KINDS))
def test_any_text_is_an_expression_or_an_expression_error(text: str, kind: ExpressionKind) -> None:
    error = None
    try:
        Compiler().compile(text, kind)(task_of())
    except ExpressionError as caught:
        error = caught
    if error is not None:
        assert 1 <= error.column <= len(text) + 1
        assert error.picture.count("\n") == 1


def test_a_word_that_cannot_be_added_is_refused() -> None:
    vocabulary = standard_vocabulary()
    for word, problem in (
        (Extractor("ip", str), "extractor 'ip' is already there"),
        (Transform("lower", str), "transform 'lower' is already there"),
        (Transform("a-b", str), "transform 'a-b': a name consists of letters, digits and _"),
        (Extractor("x", str, stage="soon"), "extractor 'x': stage 'soon' is not one of connect, tls"),
    ):
        with pytest.raises(VocabularyError) as caught:
            vocabulary.add(word)
        assert str(caught.value).startswith(problem)
    own = Vocabulary([Extractor("x", str, place="a.py:1")])
    with pytest.raises(VocabularyError, match=r"extractor 'x' is already there, at a\.py:1"):
        own.add(Extractor("x", str))
