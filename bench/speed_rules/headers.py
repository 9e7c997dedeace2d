"""Ten rules, each of which looks at one header."""

from filterd import Task, register_symbol

LOOKS = (
    ("From", "ann@"),
    ("To", "bob@"),
    ("Subject", "quarter"),
    ("Date", "2026"),
    ("Message-ID", "example.org"),
    ("Received", "mx.example.net"),
    ("MIME-Version", "1.0"),
    ("Content-Type", "/"),
    ("X-Bulk", None),
    ("List-Id", None),
)
"""What each rule must find; nothing where the header must be missing."""


def looking(name: str, word: str | None) -> None:
    def look(task: Task) -> bool:
        value = task.message.header(name)
        return value is None if word is None else value is not None and word in value

    register_symbol(name="HEADER_" + name.replace("-", "_").upper(), callback=look, score=0.1)


for one, text in LOOKS:
    looking(one, text)
