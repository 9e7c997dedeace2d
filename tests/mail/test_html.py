"""HTML becomes what a reader sees, whichever of the two ways reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.html import Link, visible_text

# Enough of a tag nobody shows to leave the tree builder out.
TOO_MUCH = "<i></i>" * 3001


@pytest.fixture(params=["", TOO_MUCH], ids=["tree", "expressions"])
def tail(request: pytest.FixtureRequest) -> str:
    """What to append to be read in one way or the other."""
    text: str = request.param
    return text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("just text", "just text"),
        ("<p>one<p>two</p>three", "one\ntwo\nthree"),
        ("one<br>two<BR/>three<Br />four", "one\ntwo\nthree\nfour"),
        ("<DIV>one</DIV><Div>two</dIV>", "one\ntwo"),
        ("<b>o</b>n<i>e</i>", "one"),
        ("<pretty>one</pretty>two", "onetwo"),  # only begins like a block
        (" one \r\n\t two\n", "one two"),
        ("one&nbsp;two &amp; three&#33;&#x21; &notaname; &lt;p&gt;", "one two & three!! ¬aname; <p>"),
        ("<table><tr><td>one<td>two<tr><th>three</table>", "one\ntwo\nthree"),
        ("<head><title>no</title><style>no</style></head><body>yes", "yes"),
        ("<script>no <p></script>yes<STYLE>no</Style>", "yes"),
        ("<!-- no <p> -->yes<!---->yes<!-->yes<!-- no --!>yes", "yesyesyesyes"),
        ("yes<!-- no", "yes"),
        ("<<!-- -->p yes>", "<p yes>"),
        ("yes<script>no", "yes"),
        ("<![if !mso]>yes<![endif]><!DOCTYPE x><?xml no?>", "yes"),
        ("one < two and three > two", "one < two and three > two"),
        ("<a href='x' title=\"y\">one</a>", "one"),
        ("<p title='>'>one", "one"),
        ("<p>one\x0btwo  three\x1ffour\x85five\u2003six", "one two three four five six"),
        ("ünï<p>cödé", "ünï\ncödé"),
    ],
)
def test_visible_text(html: str, text: str, tail: str) -> None:
    # In front, as an element without its end takes everything that follows.
    found = visible_text(tail + html)
    assert found.text == text
    assert (found.flags == {"html_cap"}) == (tail != "")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<div style="display:none">no<p>no</p></div>yes', "yes"),
        ("<div style='DISPLAY : None !important'>no</div>yes", "yes"),
        ("<p style='opacity:0'>no</p>yes", "yes"),
        ("<p style='font-size:0px'>no</p>yes", "yes"),
        ("<p style='font-size: .0em; color: red'>no</p>yes", "yes"),
        ("<p style='visibility: hidden'>no</p>yes", "yes"),
        ("<p hidden>no</p>yes", "yes"),
        ("<body style='display:none'>no", ""),
        ("<p style='font-size:0'>no</p><p style='font-size:9px'>yes</p>", "yes"),
    ],
)
def test_hidden_text_is_left_out(html: str, text: str) -> None:
    assert visible_text(html)[:2] == (text, frozenset({"hidden_text"}))


@pytest.mark.parametrize(
    "html",
    [
        "<p style='display:block'>yes</p>",
        "<p style='display:none;display:block'>yes</p>",  # the last one wins
        "<p style='opacity:0.5'>yes</p>",
        "<p style='font-size:0.8em'>yes</p>",
        "<td style='font-size:0'><b style='font-size:9px'>yes</b></td>",
        "<p style='visibility:hidden'><b style='visibility:visible'>yes</b></p>",
        "<p hidden style='display:block'>yes</p>",
        "<html style='display:none'>yes",
        "<html hidden>yes",
        "<img style='display:none'>yes",
        "<p>yes</p><style>p { display: none }</style>",  # what rules of a style sheet hide is not worked out
        "<p title='display:none'>yes</p>",
        "yes<frameset style='display:none'>",
    ],
)
def test_what_only_looks_hidden_is_shown(html: str) -> None:
    assert visible_text(html)[:2] == ("yes", frozenset())


def test_the_reader_of_a_frameset_sees_nothing() -> None:
    assert visible_text("<frameset><frame></frameset>")[:2] == ("", frozenset())


@pytest.mark.parametrize("style", ["font-size:0", "visibility:hidden", "display:none", "opacity:0"])
def test_what_is_hidden_within_what_is_hidden_is_hidden(style: str) -> None:
    nested = f"<div style='{style}'>no " * 600 + "</div>" * 600
    assert visible_text(f"{nested}<p style='font-size:9px'>yes</p>")[:2] == ("yes", frozenset({"hidden_text"}))
    # More than can be looked at is shown, and flagged.
    assert visible_text(f"<p style='{style}'>no" * 2501 + "<p>yes").flags == {"html_cap"}


def test_deep_within_hidden_text_is_taken_to_be_shown() -> None:
    deep = "<p style='font-size:0'>" + "<div>" * 60 + "<b style='font-size:9px'>yes</b>"
    assert visible_text(deep)[:2] == ("yes", frozenset())


@pytest.mark.parametrize(
    ("html", "text"),
    [
        pytest.param("<p>yes" * 6001, "yes\n" * 6000 + "yes", id="tags"),
        pytest.param("<p " + "a " * 6000 + ">yes", "yes", id="attributes"),
        pytest.param("<p " + "/a" * 6000 + ">yes", "yes", id="attributes-slashed"),
        pytest.param("<p a='>' " + "b='>' " * 1500 + ">yes", "yes", id="quoted-ends"),
        pytest.param("<p hidden>no" + TOO_MUCH, "no", id="hidden"),
    ],
)
def test_what_would_take_too_long_is_read_without_a_tree(html: str, text: str) -> None:
    assert visible_text(html)[:2] == (text, frozenset({"html_cap"}))


@pytest.mark.parametrize(
    "html",
    ["<p>" + "yes " * 600, "<img src='data:," + "A" * 5000 + "'><p hidden>no</p>yes", "<p>" + "<b>yes</b> " * 600],
    ids=["paragraph", "inline-image", "many-tags"],
)
def test_long_is_not_hostile(html: str) -> None:
    assert "html_cap" not in visible_text(html).flags


@pytest.mark.parametrize(
    ("html", "links"),
    [
        ("no links", []),
        ("<a>x</a><a href=''>y</a><a name=z>", []),
        ("<a href='http://a.com/?b&amp;c'>see <b>here</b> </a>more", [Link("http://a.com/?b&c", "a", "see here")]),
        ("<A HREF=//a.com>one<a href=//b.com>two", [Link("//a.com", "a", "one"), Link("//b.com", "a", "two")]),
        ("<a\nhref='//a\n.com'>one\ntwo</a>", [Link("//a\t.com", "a", "one two")]),
        ("<map><area href=//a.com></map>", [Link("//a.com", "area")]),
        ("<img src=//a.com><iframe src='//b.com'></iframe>", [Link("//a.com", "img"), Link("//b.com", "iframe")]),
        ("<form action=//a.com><button formaction=//b.com>", [Link("//a.com", "form"), Link("//b.com", "button")]),
        ("<table background=//a.com>", [Link("//a.com", "table")]),
        ("<object data=//a.com></object>", [Link("//a.com", "object")]),
        ("<link href=//a.com><base href='//b.com'>", [Link("//a.com", "link"), Link("//b.com", "base")]),
        ("<a>x</a><v:rect href=//a.com>", [Link("//a.com", "v:rect")]),  # Outlook follows it
        ("<a href=//a.com>href</a><b HREF=//b.com>", [Link("//a.com", "a", "href"), Link("//b.com", "b")]),
        ("<meta http-equiv=refresh content='0; URL=http://a.com/'>", [Link("http://a.com/", "meta")]),
        ("<meta http-equiv=refresh content=\"1;url='http://a.com/'\">", [Link("http://a.com/", "meta")]),
        ("<meta name=viewport content='width=device-width'><meta content>", []),
        ("<a data-href=//a.com ping=//b.com>x</a>", []),
        ("<a href=//a.com>" + "x" * 2000 + "</a>", [Link("//a.com", "a", "x" * 1024)]),
        (
            "<a href=//a.com>" + "x <b>y</b> " * 10 + "<a href=//b.com>",
            [Link("//a.com", "a", "x y " * 9 + "x y"), Link("//b.com", "a")],
        ),
    ],
)
def test_links(html: str, links: list[Link], tail: str) -> None:
    assert visible_text(tail + html).links == tuple(links)


def test_hidden_links_are_found_and_said_to_be() -> None:
    html = "<p hidden><a href=//a.com>no</a><a href=//b.com>no</a></p><a href=//a.com>yes</a>"
    assert visible_text(html).links == (
        Link("//a.com", "a", "yes"),
        Link("//a.com", "a", is_hidden=True),
        Link("//b.com", "a", is_hidden=True),
    )
    assert visible_text("<p hidden></p><p hidden>no").links == ()
    assert visible_text("<a href=//a.com>yes<b hidden>no</b></a>").links == (Link("//a.com", "a", "yes"),)


def test_links_are_counted(tail: str) -> None:
    assert len(visible_text(tail + "<a href=//a.com>x</a>" * 2100).links) == 2000


def test_the_text_of_links_within_links_is_read_to_a_bound() -> None:
    # HTML forbids it, but not within drawings.
    links = visible_text("<svg>" + "<a href=//a.com>" * 100 + "x" * 20_000).links
    assert {len(link.text) for link in links} == {0, 1024}


PIECES = [
    "<p>",
    "</p>",
    "<b>",
    "</b>",
    "<br>",
    "<div style='color:red'>",
    "</div>",
    "a",
    "b ",
    " ",
    "\n",
    "&amp;",
    "ü",
    "<!--x-->",
]


@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_both_ways_show_the_same(pieces: list[str]) -> None:
    html = "".join(pieces)
    assert visible_text(html).text == visible_text(TOO_MUCH + html).text


HOSTILE = [
    "<",
    ">",
    '"',
    "'",
    "=",
    "<p",
    "<script",
    "</script>",
    "<!--",
    "-->",
    "<title>",
    "&",
    "&#",
    "a",
    " ",
    "\0",
    "\ud800",
    "style=display:none",
]


@given(st.lists(st.sampled_from(HOSTILE), max_size=30), st.booleans())
def test_anything_becomes_lines_of_text(pieces: list[str], is_long: bool) -> None:
    text = visible_text("".join(pieces) + (TOO_MUCH if is_long else "")).text
    assert all(line == " ".join(line.split()) != "" for line in text.split("\n") if text)


def test_an_element_with_two_links_is_listed_once(tail: str) -> None:
    assert visible_text('<!-- --><a href="1" src="2">x</a><img src="3" href="4">' + tail).links == (
        Link("1", "a", "x"),
        Link("4", "img"),
    )
