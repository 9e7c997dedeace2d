"""HTML that needs no tree is read without one, and nobody can tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.html import visible_text
from filterd.mail.html_plain import Link, read_plain

NEWSLETTER = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"/><meta http-equiv="x" content="text/html; charset=utf-8">
<title>no</title><style type="text/css">p { display: none }</style></head>
<body class="c">
<table width="600">
 <tbody>
  <tr><td>Dear <b>reader</b>,</td>
   <th><img src="https://e.example/a.png" alt="no"/></th></tr>
 </tbody>
</table>
<p style="font-size: 12px; display: block">one &amp; two &copy; &ndash; R & D</p>
<a name="top">here</a>
<a href="https://e.example/?a=1&amp;b=2&c=3">see<br><b>this</b> <img src="https://e.example/b.png"></a> or
<a class="c" href="https://e.example/2">that</a>
</body>
</html>
"""

PIECES = [
    *(
        "x",
        " y ",
        "\n",
        "z\r\nw",
        "&amp;",
        "&nbsp;",
        "&lt;b&gt;",
        "a & b",
        "é",
        "> ",
        "\x0b",
        "&euro;",
        "\u2028",
        "\ufeff",
        "A=1;",
    ),
    *(
        "&#33;",
        "&copy",
        "<",
        "<!-- x -->",
        "\0",
        "<p class='x'>",
        "<P>",
        "<style>p</style>",
        "<p hidden>",
        '<p title="hidden">',
    ),
    *(
        '<p style="display: none">',
        '<b style="font-size: 0">',
        '<i style="color: red">',
        "<html>",
        "<head>",
        "</head>",
        "<body>",
    ),
    *('<a href="http://a/?x=1&y=2">', '<a href="u&amp;copy=1">', '<a href="">', '<a href="1" href="2">', '<a href="a&lt=3">'),
    *(
        '<a href=" x\ny ">',
        '<a href="&copy">',
        "<a>",
        '<a href="q" src="">',
        '<img src="i.png">',
        '<img src="s" href="h">',
        "<img/>",
    ),
    *(
        '<td background="k">',
        '<a href="1">x</a>',
        '<a href="1">x<b>y</b></a>',
        '<a href="1">x<br><img src="2">y</a>',
        "</body>",
        "</html>",
    ),
    *(
        "<table><tr><td>",
        "</td></tr></table>",
        "</td><td>",
        "</td></tr>\n<tr>\n<td>",
        "<table><tbody>",
        "<thead><tr><th>",
        "<h1>",
        "</h1>",
    ),
    *(f"<{name}>" for name in "b font p div li table tbody td th tr br hr pre form svg".split()),
    *(f"</{name}>" for name in "a b font p div li table tbody td th tr br form svg".split()),
]


def in_plain(html: str) -> bool:
    return read_plain(html) is not None


def by_tree(html: str) -> tuple[object, ...]:
    """What the tree says of `html`: a comment at its end keeps it from being read without one."""
    return visible_text(html + "<!---->")


def test_an_ordinary_newsletter_needs_no_tree() -> None:
    plain = read_plain(NEWSLETTER.replace("\n", "\t"))
    assert plain is not None
    assert plain.links == [
        Link("https://e.example/a.png", "img"),
        Link("https://e.example/?a=1&b=2&c=3", "a", "see this"),
        Link("https://e.example/b.png", "img"),
        Link("https://e.example/2", "a", "that"),
    ]
    assert visible_text(NEWSLETTER) == by_tree(NEWSLETTER)
    assert visible_text(NEWSLETTER).text == "Dear reader,\none & two © – R & D\nhere see\nthis or that"


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_it_is_what_the_tree_says(html: str) -> None:
    assert visible_text(html) == by_tree(html)


@pytest.mark.parametrize("begin", ["", "<html><body>", '<html><head><title>t</title></head><body class="c">'])
@given(st.lists(st.sampled_from([piece for piece in PIECES if in_plain(piece)]), max_size=12).map("".join))
def test_pieces_that_need_no_tree_may_need_one_together(begin: str, html: str) -> None:
    assert visible_text(begin + html) == by_tree(begin + html)


@pytest.mark.parametrize(
    "html",
    [
        "",
        "text",
        '<a href="1">x</a><a href="2">y</a>',
        '<a href="1">x &amp; y</a>',
        '<a class="c" href="1">x</a>',
        '<a href="1"><b>x</b><br/>y<img src="2"></a>',
        '<a name="x">y</a>',
        '<img><img src=""><img alt="a">',
        "<table><tr><td>x</td><th>y</th></tr></table>",
        "<table><tr><td>x</table>",
        "<table><tr>",
        "<p>one<p>two",
        "</p>one</div>",
        '<p style="text-decoration: none; display: block; font-size: 10px">one',
    ],
)
def test_no_tree_is_needed(html: str) -> None:
    assert in_plain(html)
    assert visible_text(html) == by_tree(html)


@pytest.mark.parametrize(
    "html",
    [
        "x" * (256 * 1024 + 1),  # too long
        "<!-- x -->",
        "<p class='c'>",
        "\0",
        "\ufeffx",
        "<P>",
        "<svg>",
        "<p class=c>",
        "x < y",
        "&hearts;",
        "&amp",
        "&<b>amp;</b>",
        "a&l<br>t;",
        '<p title="&hearts;">',
        '<html><head><meta content="0;url=http://e.example"></head>',  # leads elsewhere
        '<html background="x">',
        '<td background="x">',
        "<p hidden>",
        '<p title="hidden">',
        '<p style="display: none">',
        '<p style="font-size: 0">',
        '<html style="opacity: 0">',
        "<table>x<tr><td>y</td></tr></table>",  # text that moves
        "<table><p>x",
        "<tr>x",
        "</a>",
        '<a href="1">',  # goes on to the end, or anew in the next block
        '<a href="1"><p>x</p></a>',
        '<a href="1"><b>x</a></b>',
        '<a href="1"><b>x</i></b></a>',
        '<a href="1">x<a href="2">y</a>',
        '<a href="1">x</a></a>',
        '<a href="1">' + "<br>" * 60 + "</a>",
        '<a href="1">x</a>' * 1001,
        '<img src="1">' * 1001,
    ],
)
def test_a_tree_is_needed(html: str) -> None:
    assert not in_plain(html)


def test_the_text_of_a_link_ends_where_it_ends_in_a_tree() -> None:
    html = f'<a href="1">{"x" * 2000}</a><a href="2">{"&lt;" * 2000}</a>'
    assert visible_text(html) == by_tree(html)
