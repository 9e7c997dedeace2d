"""Selectors: what is read from a message and what is made of it, each word with what it gives."""

import hashlib
from base64 import b32encode, b64encode
from typing import Any

import pytest

from filterd.engine.expressions import Compiler, Extractor, Transform, standard_vocabulary
from filterd.engine.expressions.kinds import kind_of
from filterd.mail.envelope import Envelope
from tests.support.expressions import LETTER, task_of, value_of

PDF = hashlib.sha256(b"PDF").digest()
MAPS = {"friends": {"192.0.2.77": "yes"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id('Something')", "Something"),
        ("id", ""),
        ("list('a', b, 3)", ["a", "b", "3"]),
        ("list", None),
        ("id(true)", "true"),
        ("id(1.5)", "1.5"),
        ("specific_urls({limit = 1, exclude_flags = {phished, idn}}):path", ["/a"]),
        ("received_count", 2),
        ("env('FILTERD_NO_SUCH_VARIABLE')", None),
        ("required_score", 15.0),
        ("threshold('add header')", 6.0),
        ("threshold('rewrite subject')", None),
        ("threshold", 15.0),
        ("failures", None),
        ("ip", "192.0.2.77"),
        ("hostname", None),
        ("mta_name", None),
        ("tls", False),
        ("helo", "mail.sender.example"),
        ("user", "Test@User.com"),
        ("authenticated", True),
        ("from", "Ann@sender.example"),
        ("from('smtp')", "Ann@sender.example"),
        ("from(smtp, orig)", "Ann@sender.example"),
        ("from('mime')", "ann@sub.example.co.uk"),
        ("mail_from", "Ann@sender.example"),
        ("rcpts", ["bob@example.net", "carl@example.net"]),
        ("rcpts('smtp')", ["bob@example.net", "carl@example.net"]),
        ("rcpts('mime')", ["Bob@example.net", "carl@example.net", "dora@example.org"]),
        ("to", "bob@example.net"),
        ("deliver_to", None),
        ("queueid", "Q1"),
        ("queue_id", "Q1"),
        ("request_header('x-own')", "yes"),
        ("request_header('X-Other')", None),
        ("flags", None),
        ("settings_id", None),
        ("time('message')", 1767261600.0),
        ("time('message', '%Y\0\ud800')", "2026?"),
        ("time(message, '!%Y-%m-%d')", "2026-01-01"),
        ("header('Subject')", "Buy NOW"),
        ("header(X-Tag)", "one"),
        ("header('X-Tag', 'full')", ["one", "two"]),
        ("header('x-tag', 'strong')", "two"),
        ("header('x-tag', 'full', 'strong')", ["two"]),
        ("header('X-None', 'full')", None),
        ("header('X-TAG', 'strong')", None),
        ("headers('X-Tag')", ["one", "two"]),
        ("headers('X-None')", None),
        ("subject", "Buy NOW"),
        ("messageid", "7@example.com"),
        ("message_id", "7@example.com"),
        ("size", len(LETTER)),
        ("digest", hashlib.sha256(LETTER).hexdigest()),
        ("received('by_hostname')", ["mx.example.net", "client.example.com"]),
        ("received('real_ip')", ["192.0.2.7"]),
        ("received.first:real_hostname", "real.example.com"),
        ("received.last:for", None),
        ("parts:type", ["multipart/mixed", "text/plain", "application/pdf"]),
        ("attachments", [PDF.hex()]),
        ("attachments('base64', 'sha256')", [b64encode(PDF).decode()]),
        ("files", ["bill.pdf"]),
        ("words.take_n(2)", ["see", "http"]),
        ("words('raw').first", "See"),
        ("urls:host", ["www.example.com", "shop.example.com"]),
        ("urls('get_tld').uniq", ["example.com"]),
        ("urls.first:query", "x=1"),
        ("specific_urls({limit = 5, esld_limit = 1}):host", ["www.example.com"]),
        ("specific_urls(limit=1):path", ["/a"]),
        ("specific_urls(flags=['phished'])", None),
        ("specific_urls(exclude_flags=phished).count", 2),
        ("emails", ["help@example.com"]),
        ("emails('get_user')", ["help"]),
        ("symbols", ["A", "B"]),
        ("symbol('A').weight", 2.0),
        ("symbol('A'):score", 0.0),
        ("symbol('NONE')", None),
        ("score", 0.0),
        ("action", "no action"),
        ("var('seen')", "yes"),
        ("pool_var('seen')", "yes"),
        ("task_cache('kept')", 3),
    ],
)
def test_what_an_extractor_reads(text: str, value: object) -> None:
    task = task_of(symbols={"A": 2.0, "B": 1.0})
    task.vars["seen"], task.cache["kept"] = "yes", 3
    assert Compiler().compile(text)(task) == value


def test_every_extractor_gives_none_or_something_plain_for_a_message_of_nothing() -> None:
    task = task_of(b"", Envelope({}))
    arguments = {"request_header": "('X')", "header": "('X')", "headers": "('X')", "symbol": "('X')", "env": "('X')"}
    arguments |= dict.fromkeys(("var", "pool_var", "task_cache"), "('x')")
    for name in standard_vocabulary().extractors.keys() - {"parts"}:
        value = Compiler().compile(name + arguments.get(name, ""))(task)
        assert value is None or isinstance(value, str | int | float | bool), name


def test_the_time_of_the_connection_is_now_and_the_id_is_the_tasks() -> None:
    task = task_of()
    assert Compiler().compile("time('connect')")(task) > 1767261600.0
    assert len(Compiler().compile("time(connect, '%Y')")(task)) == 4
    assert Compiler().compile("uid")(task) == task.id


def test_without_an_envelope_the_header_fields_speak() -> None:
    task = task_of(envelope=Envelope({}))
    assert Compiler().compile("from")(task) == "ann@sub.example.co.uk"
    assert Compiler().compile("to")(task) == "Bob@example.net"
    assert Compiler().compile("from('smtp')")(task) is None
    assert Compiler().compile("rcpts('smtp')")(task) is None


def test_where_the_message_goes_in_the_end_is_its_principal_recipient() -> None:
    assert Compiler().compile("to")(task_of(envelope=Envelope.of(headers=[("Deliver-To", "me")]))) == "me"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("user.lower", "test@user.com"),
        ("user.lower_utf8", "test@user.com"),
        ("user.upper", "TEST@USER.COM"),
        ("id(' a ').strip", "a"),
        ("id('b').prepend('a')", "ab"),
        ("id('b').prefix(a, '-')", "a-b"),
        ("id('b').append('c', 1)", "bc1"),
        ("id('b').suffix('c')", "bc"),
        ("id('abcdef').substring(2, 4)", "bcd"),
        ("id('abcdef').substring(-3, -2)", "de"),
        ("id('abcdef').substring(0, 2)", "ab"),
        ("id('abcdef').substring(3)", "cdef"),
        ("id('käse').to_ascii", "k?se"),
        ("id('käse').to_ascii('')", "kse"),
        ("id('x').digest('hex', 'md5')", hashlib.md5(b"x").hexdigest()),
        ("id('x').digest('base64', sha1)", b64encode(hashlib.sha1(b"x").digest()).decode()),
        ("id('x').digest('base32', 'sha256')", b32encode(hashlib.sha256(b"x").digest()).decode().lower().rstrip("=")),
        ("id('x').digest", hashlib.blake2b(b"x").hexdigest()),
        ("id('x').digest('hex', 'sha512')", hashlib.sha512(b"x").hexdigest()),
        ("id('abc').length", 3),
        ("id('a,b,,c').split(',')", ["a", "b", "c"]),
        ("id(',').split(',')", None),
        ("id('a1b22').regexp('[0-9]+')", ["1"]),
        ("id('a1b22').match('([a-z])([0-9]+)$')", ["b22", "b", "22"]),
        ("id('Ab').re(/a(x)?B/i)", ["Ab"]),
        ("id('ab').regexp(/x/)", None),
        ("id('a1b22').sub(/[0-9]+/, '#')", "a#b#"),
        ("ip.ipmask(24)", "192.0.2.0"),
        ("ip.ipmask('16', 64)", "192.0.0.0"),
        ("id('2001:db8::1:2').ipmask(24, 112)", "2001:db8::1:0"),
        ("id('2001:db8:1::2').ipmask(32)", "2001:db8::"),
        ("id('nobody').ipmask(8)", None),
        ("ip.reverse_ip", "77.2.0.192"),
        ("id('2001:db8::1').reverse_ip.length", 63),
        ("id('nobody').reverse_ip", None),
        ("from('smtp').get_domain", "sender.example"),
        ("from('smtp').get_user", "Ann"),
        ("user.get_domain", "user.com"),
        ("helo.get_domain", None),
        ("id('').get_user", None),
        ("from('mime').get_tld", "example.co.uk"),
        ("helo.get_tld", "sender.example"),
        ("list(c, a, b).first", "c"),
        ("list(c, a, b).last", "b"),
        ("list(c, a, b).nth(2)", "a"),
        ("list(c, a, b).nth(-1)", "b"),
        ("list(c, a, b).nth('4')", None),
        ("list(c, a, b).nth(0)", None),
        ("list(c, a, b).take_n(2)", ["c", "a"]),
        ("list(c, a, b).take_n(0)", None),
        ("list(c, a, b).drop_n(1)", ["a", "b"]),
        ("list(c, a, b).drop_n(9)", None),
        ("list(c, a, b).sort.join('-')", "a-b-c"),
        ("list(c, a, c).uniq.join", "ca"),
        ("list(c, a).count", 2),
        ("list(a, nil).filter_string_nils", ["a"]),
        ("list(nil).filter_string_nils", None),
        ("hostname.default('-')", "-"),
        ("hostname.lower.append('x').default", ""),
        ("helo.default('-')", "mail.sender.example"),
        ("id('a').equal('a')", "a"),
        ("id('a').equal('b')", None),
        ("list(a, b, c).in('a', 'c')", ["a", "c"]),
        ("list(a, b, c).not_in('a', 'c')", ["b"]),
        ("list(a).not_in(a)", None),
        ("hostname.inverse", "true"),
        ("hostname.inverse('no')", "no"),
        ("helo.inverse", None),
        ("helo.id('there is one')", "there is one"),
        ("helo.id(a, b)", ["a", "b"]),
        ("helo.id", ""),
        ("hostname.id('x')", None),
        ("id('12').int", 12),
        ("id('x').int", None),
        ("id('1.5').float", 1.5),
        ("id('x').float", None),
        ("ip.filter_map('friends')", "192.0.2.77"),
        ("ip.in_map(friends)", "192.0.2.77"),
        ("helo.filter_map('friends')", None),
        ("ip.except_map('friends')", None),
        ("helo.except_map('friends')", "mail.sender.example"),
        ("ip.apply_map('friends').upper", "YES"),
        ("helo.apply_map('friends')", None),
        ("helo.map('friends', 'no')", "no"),
    ],
)
def test_what_a_transform_makes(text: str, value: object) -> None:
    assert value_of(text, maps=MAPS) == value


def test_a_transform_of_one_item_is_asked_for_each_of_a_list() -> None:
    assert value_of("rcpts('mime').lower") == ["bob@example.net", "carl@example.net", "dora@example.org"]
    assert value_of("rcpts('mime'):domain.uniq") == ["example.net", "example.org"]


def test_several_selectors_are_a_list_and_none_where_one_has_no_value() -> None:
    assert value_of("user.lower; header(Subject).lower") == ["test@user.com", "buy now"]
    assert value_of("user.lower; hostname") is None


def test_none_ends_a_chain_and_default_goes_on() -> None:
    assert value_of("hostname.lower.get_tld") is None
    assert value_of("hostname.lower.default('NONE').lower") == "none"


def test_hostile_text_is_no_trouble() -> None:
    vocabulary = standard_vocabulary()
    task = task_of()
    for text in ("\ud800", "\0", "a" * 100_000, "@" * 1000, "9" * 5000):
        task.vars["it"] = text
        for name, one in vocabulary.transforms.items():
            if one.wants_map:
                continue
            needed = {"regexp": "('a')", "match": "('a')", "re": "('a')", "sub": "('a', 'b')", "ipmask": "(8)", "nth": "(1)"}
            needed |= {"iif": "('a')"} | dict.fromkeys(("take_n", "drop_n"), "(1)") | dict.fromkeys(("equal", "split"), "('a')")
            Compiler().compile(f"var('it').{name}{needed.get(name, '')}")(task)


# -- kinds


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (str, "text"),
        (list[str], "a list of texts"),
        (list, "a list of anything"),
        (str | None, "text"),
        (str | int, "anything"),
        (None, "anything"),
        (Any, "anything"),
        (tuple[int, ...], "a list of whole numbers"),
        (float, "a number"),
        (set, "a set"),
    ],
)
def test_a_kind_reads_as_people_say_it(annotation: Any, shown: str) -> None:
    assert str(kind_of(annotation)) == shown


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("size", "a whole number"),
        ("rcpts.lower", "a list of texts"),
        ("rcpts.first", "an address"),
        ("rcpts.first:domain", "text"),
        ("ip.default('x')", "text"),
        ("size.default('x')", "anything"),
        ("urls", "a list of URLs"),
        ("user; helo", "a list of texts"),
        ("user; size", "a list of anything"),
        ("user.split(',')", "a list of texts"),
        ("parts.first:size", "a whole number"),
    ],
)
def test_the_kind_of_what_comes_out_is_known(text: str, kind: str) -> None:
    assert str(Compiler().compile(text).returns) == kind


def test_what_is_not_declared_is_looked_at_when_it_comes() -> None:
    vocabulary = standard_vocabulary()
    vocabulary.add(Extractor("anything", lambda task: task.vars["it"]))
    vocabulary.add(Transform("twice", lambda value: value * 2, str, str))
    compiler = Compiler(vocabulary)
    task = task_of()
    for it, made in (("ab", "abab"), (["a", "b"], ["aa", "bb"]), (7, "77"), (None, None), ([], None)):
        task.vars["it"] = it
        assert compiler.compile("anything.twice")(task) == made
    for it, made in (("ab", "ab"), (["a", "b"], "a"), ([], None)):
        task.vars["it"] = it
        assert compiler.compile("anything.first")(task) == made


def test_symbols_with_their_scores_and_options() -> None:
    task = task_of(rules=[], symbols={"A": 1.0, "B": 2.0})
    task.insert_result("B", 0.0, "one", "two")
    get = Compiler().get
    assert get("symbols", task) == ["A", "B"]
    assert get("symbols('scores')", task) == ["A(0.00)", "B(0.00)"]
    assert get("symbols('options').join(',')", task) == "A(0.00){},B(0.00){one;two}"
    assert get("symbols('scores')", task_of()) is None


def test_the_time_a_message_has_taken_so_far_is_a_number_of_seconds() -> None:
    assert 0 <= value_of("elapsed") < 60


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id('3.7').float.bar", "+++"),
        ("id('-2.9').float.bar('+', '-', '/')", "--"),
        ("id('0.9').float.bar('+', '-', '/')", "/"),
        ("id('-0.9').float.bar", ""),
        ("id('1000').float.bar('*', limit=20)", "*" * 20),
        ("id('inf').float.bar('*', limit=3)", "***"),
        ("id('nan').float.bar('*', 'm', limit=3)", "mmm"),
        ("id('9').float.bar('*', limit=-1)", ""),
        ("id('2.567').float.round(1)", 2.6),
        ("id('2.567').float.round", 3.0),
        ("user.iif('in', 'out')", "in"),
        ("hostname.iif('in', 'out')", "out"),
        ("id('ü').hex", "c3bc"),
        ("id('ü').base64", "w7w="),
        ("id('abc').len", 3),
        ("id('Ann+News@Example.ORG').strip_plus", "Ann@Example.ORG"),
        ("id('ann+news').strip_plus", "ann"),
        ("id('Ann@Example.ORG').domain", "example.org"),
        ("id('Ann@Example.ORG').local", "Ann"),
        # An attribute of the value goes before a transform that cannot take it.
        ("urls.domain", ["example.com", "example.com"]),
        ("from('smtp').domain", "sender.example"),
    ],
)
def test_further_transforms(text: str, value: object) -> None:
    assert value_of(text) == value


def test_conditions_may_have_names_where_the_expression_stands() -> None:
    names = {"user": lambda task: False, "header:x-tag": lambda task: True, "selector:1": lambda task: True}

    def holds(text: str) -> bool:
        return bool(Compiler().compile(text, "condition", stage="message", names=names)(task_of()))

    assert not holds("user")
    assert holds("!user && header:x-tag & selector:1")
    assert not holds("user || (header:x-tag and not selector:1)")
    # With brackets or a step it is the value of the message.
    assert holds("user.lower == 'test@user.com'")
    assert holds("header('X-Tag') == 'one' and not user")
