"""What is written down: one line a message with every id, one report a bug, and nothing a header could forge."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import filterd
import filterd.daemon.logs as logs
from filterd.daemon.logs import FailureLog, MessageLog, set_up_logging
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Hit, RuleFailure, Verdict
from filterd.task import Task
from tests.support.engine import MAIL, engine_of

FAILURE = RuleFailure("BROKEN", "exception", "KeyError: 'x'", "/r/a.py:7", elapsed=0.5, traceback="Traceback:\n  /r/a.py")
EXPECTED = RuleFailure("ASKS", "connect", "connect: Connection refused", "/r/b.py:3", "connect", "127.0.0.1:1", 0.25)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("filterd")
    before = root.handlers[:], root.level, ours.level
    settings = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    yield
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = settings


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was written to the standard error stream since it was asked last."""
    return lambda: capsys.readouterr().err


def request(**headers: str) -> ScanRequest:
    """A request with these headers (with _ for -), from the HTTP door."""
    envelope = Envelope({name.lower().replace("_", "-").rstrip("-"): [value] for name, value in headers.items()})
    return ScanRequest(Message(MAIL), envelope, "http", "192.0.2.9:4711")


def verdict(**changes: Any) -> Verdict:
    symbols = {"A": Hit("A", 1.23456, options=("x", "y")), "B": Hit("B", -0.5)}
    one = Verdict("add header", 7.12345, 15.0, symbols=symbols, task_id="abc123", message_id="1@example.org", seconds=0.0123456)
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def lines_of(request: ScanRequest, verdict: Verdict, **settings: str) -> list[str]:
    written: list[str] = []
    MessageLog(written.append, **settings)(request, verdict)
    return "".join(written).splitlines()


def object_of(request: ScanRequest, verdict: Verdict) -> dict[str, Any]:
    (line,) = lines_of(request, verdict)
    told: dict[str, Any] = json.loads(line)
    return told


# -- the line of a message


def test_a_message_has_one_json_line_with_every_id() -> None:
    told = object_of(
        request(queue_id="4F1", ip="192.0.2.7", from_="a@example.org", rcpt="b@example.net", user="ann", log_tag="tag"),
        verdict(),
    )
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info",
        "logger": "filterd.message",
        "task_id": "abc123",
        "queue_id": "4F1",
        "message_id": "1@example.org",
        "door": "http",
        "peer": "192.0.2.9:4711",
        "ip": "192.0.2.7",
        "user": "ann",
        "from": "a@example.org",
        "rcpts": ["b@example.net"],
        "size": len(MAIL),
        "action": "add header",
        "score": 7.123,
        "required_score": 15.0,
        "symbols": {"A": 1.235, "B": -0.5},
        "ms": 12.346,
        "log_tag": "tag",
    }


def test_what_the_client_did_not_say_is_null() -> None:
    told = object_of(request(), verdict(message_id=None, required_score=None))
    assert {name for name, value in told.items() if value is None} == {
        "queue_id",
        "message_id",
        "ip",
        "user",
        "from",
        "required_score",
    }
    assert told["rcpts"] == []


def test_the_null_sender_is_not_no_sender() -> None:
    assert object_of(request(from_="<>"), verdict())["from"] == ""


def test_failures_make_it_a_warning_and_are_in_it() -> None:
    told = object_of(request(), verdict(failures=(FAILURE, EXPECTED), timed_out=True))
    assert (told["level"], told["timed_out"]) == ("warning", True)
    assert told["failures"] == [
        "BROKEN: KeyError: 'x' at /r/a.py:7 after 0.50 s",
        "ASKS: connect: Connection refused at /r/b.py:3 after 0.25 s",
    ]


def test_nothing_of_the_message_itself_is_in_it() -> None:
    for settings in ({"format": "json"}, {"format": "text"}):
        (line,) = lines_of(request(password="secret"), verdict(), **settings)
        assert "hello" not in line
        assert "secret" not in line


def test_the_text_line_says_the_same_for_people() -> None:
    (line,) = lines_of(
        request(queue_id="4F1", ip="192.0.2.7", from_="a@example.org", rcpt="b@example.net", user="ann", log_tag="tag"),
        verdict(failures=(EXPECTED,)),
        format="text",
    )
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line)
    assert line.split("Z ", 1)[1] == (
        "warning filterd.message: id=abc123 qid=4F1 mid=<1@example.org> tag=tag ip=192.0.2.7 user=ann from=<a@example.org> "
        f"rcpts=<b@example.net> size={len(MAIL)} add header: [7.12/15.00] [A(1.23){{x;y}},B(-0.50)] 12.3 ms"
        "; FAILED ASKS: connect: Connection refused at /r/b.py:3 after 0.25 s"
    )


def test_the_text_line_of_a_message_nobody_said_anything_about() -> None:
    (line,) = lines_of(request(), verdict(symbols={}, required_score=None, message_id=None), format="text")
    assert line.split("Z ", 1)[1] == (
        "info    filterd.message: id=abc123 qid=- mid=<-> ip=- user=- from=<-> rcpts=<-> "
        f"size={len(MAIL)} add header: [7.12/none] [] 12.3 ms"
    )


def test_a_message_without_a_verdict_has_its_line_too() -> None:
    written: list[str] = []
    one = request(queue_id="4F1", ip="192.0.2.7", from_="a@example.org", rcpt="b@example.net", log="no", log_tag="tag")
    MessageLog(written.append, level="error").unscanned(one, "too many")
    told = json.loads("".join(written))
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "error",
        "logger": "filterd.message",
        "task_id": None,
        "queue_id": "4F1",
        "message_id": "1@example.org",
        "door": "http",
        "peer": "192.0.2.9:4711",
        "ip": "192.0.2.7",
        "user": None,
        "from": "a@example.org",
        "rcpts": ["b@example.net"],
        "size": len(MAIL),
        "action": None,
        "unscanned": "too many",
        "log_tag": "tag",
    }


def test_for_people_it_says_not_scanned() -> None:
    written: list[str] = []
    MessageLog(written.append, "text").unscanned(request(queue_id="4\nF"), "too\nmany")
    assert "".join(written).split("Z ", 1)[1] == (
        "error   filterd.message: id=- qid=4\\nF mid=<1@example.org> ip=- user=- from=<-> rcpts=<-> "
        f"size={len(MAIL)} NOT SCANNED: too\\nmany\n"
    )


NASTY = [
    "a\nforged line",
    "a\r\nX",
    "\x1b[2J",
    "\u2028\u2029\x85\x0b\x0c",
    '"},{"',
    "\udcff half a character",
    "\x00",
    "ünï😀",
]


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize("nasty", NASTY)
def test_a_message_stays_one_line_whatever_its_headers_hold(nasty: str, format: str) -> None:
    symbols = {"A": Hit("A", 1.0, options=(nasty,))}
    failure = RuleFailure("R", "exception", nasty, "f:1")
    written: list[str] = []
    log = MessageLog(written.append, format)
    log(
        request(queue_id=nasty, from_=f"<{nasty}@x>", rcpt=nasty, user=nasty, ip=nasty, log_tag=nasty),
        verdict(symbols=symbols, message_id=nasty, action=nasty, failures=(failure,)),
    )
    (line,) = written
    assert line.endswith("\n")
    assert min(line[:-1]) >= " "
    if format == "json":
        told = json.loads(line)
        assert (told["queue_id"], told["message_id"]) == (nasty, nasty)
    else:
        assert line[:-1].isprintable()


def test_numbers_that_are_too_large_for_json_are_written_all_the_same() -> None:
    assert object_of(request(), verdict(required_score=10**30))["required_score"] == 10**30


def test_who_asks_for_no_log_gets_none() -> None:
    assert lines_of(request(log="no"), verdict(failures=(FAILURE,))) == []


@pytest.mark.parametrize(("level", "fine", "failed"), [("debug", 1, 1), ("info", 1, 1), ("warning", 0, 1), ("error", 0, 1)])
def test_above_level_info_only_messages_on_which_something_failed_are_told(level: str, fine: int, failed: int) -> None:
    assert len(lines_of(request(), verdict(), level=level)) == fine
    assert len(lines_of(request(), verdict(failures=(EXPECTED,)), level=level)) == failed


@pytest.mark.parametrize(
    ("least", "own", "fine", "failed"),
    [
        ("info", "debug", None, "warning"),
        ("debug", "debug", "debug", "warning"),
        ("info", "notice", "notice", "warning"),
        ("warning", "notice", None, "warning"),
        ("warning", "alert", "alert", "alert"),
        ("debug", "silent", None, "warning"),
        ("emerg", "crit", None, "crit"),
    ],
)
def test_a_message_has_the_level_that_a_rule_gave_it_and_a_failure_is_never_silent(
    least: str, own: str, fine: str | None, failed: str
) -> None:
    def levels(**changes: Any) -> tuple[str | None, str | None]:
        json_lines = lines_of(request(), verdict(log_level=own, **changes), level=least)
        text_lines = lines_of(request(), verdict(log_level=own, **changes), level=least, format="text")
        return (
            json.loads(json_lines[0])["level"] if json_lines else None,
            text_lines[0].split()[1] if text_lines else None,
        )

    assert levels() == (fine, fine)
    assert levels(failures=(FAILURE,)) == (failed, failed)


@pytest.mark.parametrize("format", ["text", "json"])
def test_syslogs_levels_have_their_names(format: str, stderr: Callable[[], str]) -> None:
    set_up_logging(format, "debug")
    names = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emerg"]
    for number in range(7, -1, -1):
        filterd.log.log(number, "text")
    lines = stderr().splitlines()
    assert [json.loads(line)["level"] if format == "json" else line.split()[1] for line in lines] == names
    set_up_logging(format, "alert")
    filterd.log.crit("not wanted")
    filterd.log.alert("wanted")
    assert len(stderr().splitlines()) == 1


# -- the lines of the process


def test_a_line_of_the_log_as_json(stderr: Callable[[], str]) -> None:
    set_up_logging("json", "info")
    logging.getLogger("filterd.worker").info("ready: %d rules", 3)
    extra = {"task_id": "abc", "queue_id": "4F1", "rule": "A"}
    logging.getLogger("filterd.rule").warning("odd\n\udcff", extra=extra)
    first, second = map(json.loads, stderr().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {"level": "info", "logger": "filterd.worker", "text": "ready: 3 rules"}
    assert second.pop("time").endswith("Z")
    assert second == {"level": "warning", "logger": "filterd.rule", "text": "odd\n\udcff", **extra}


def test_a_line_of_the_log_as_text(stderr: Callable[[], str]) -> None:
    set_up_logging("text", "info")
    logging.getLogger("filterd.rule").warning("odd\nforged", extra={"task_id": "abc", "queue_id": "4\nF", "rule": "A"})
    (line,) = stderr().splitlines()
    assert line.split("Z ", 1)[1] == r"warning filterd.rule: odd\nforged task_id=abc queue_id=4\nF rule=A"


@pytest.mark.parametrize("format", ["json", "text"])
def test_an_exception_comes_with_its_traceback(stderr: Callable[[], str], format: str) -> None:
    set_up_logging(format)
    try:
        raise ValueError("wrong\n2026-01-01T00:00:00.000Z error   forged: line")
    except ValueError:
        logging.getLogger("filterd.x").exception("it failed")
    written = stderr()
    if format == "json":
        (line,) = written.splitlines()
        assert json.loads(line)["traceback"].splitlines()[0] == "Traceback (most recent call last):"
    else:
        first, *rest = written.splitlines()
        assert first.endswith("filterd.x: it failed")
        assert all(line.startswith("    ") for line in rest)
        assert rest[0] == "    Traceback (most recent call last):"


@pytest.mark.parametrize(("level", "told"), [("debug", "diwe"), ("info", "iwe"), ("warning", "we"), ("error", "e")])
def test_the_level_is_that_of_filterd_and_libraries_are_told_from_warning_on(
    stderr: Callable[[], str], level: str, told: str
) -> None:
    set_up_logging("text", level)
    for name in ("filterd.x", "library"):
        log = logging.getLogger(name)
        for say, letter in ((log.debug, "d"), (log.info, "i"), (log.warning, "w"), (log.error, "e")):
            say("%s %s", name, letter)
    lines = [line.rpartition(": ")[2].split() for line in stderr().splitlines()]
    assert "".join(letter for name, letter in lines if name == "filterd.x") == told
    assert "".join(letter for name, letter in lines if name == "library") == "we"


def test_messages_and_log_go_to_the_same_file(tmp_path: Path, stderr: Callable[[], str]) -> None:
    file = tmp_path / "filterd.log"
    write = set_up_logging("json", "info", file)
    logging.getLogger("filterd.x").info("\udcff")
    MessageLog(write)(request(), verdict())
    write("half a character \udcff\n")
    lines = file.read_text().splitlines()
    assert [json.loads(line)["logger"] for line in lines[:2]] == ["filterd.x", "filterd.message"]
    assert lines[2] == r"half a character \udcff"
    assert stderr() == ""


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        set_up_logging("json", "info", tmp_path / "nowhere" / "filterd.log")


def test_a_full_disk_stops_no_mail_and_is_said_once(stderr: Callable[[], str]) -> None:
    write = set_up_logging("json", "info", Path("/dev/full"))
    log = MessageLog(write)
    for _ in range(3):
        log(request(), verdict())
    assert stderr() == "filterd: cannot write to /dev/full: No space left on device\n"
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.FileHandler)
    # What could not be written would be tried again when the handler is closed.
    stream, handler.stream = handler.stream, None
    assert stream is not None
    with suppress(OSError):
        stream.close()


def test_a_standard_error_stream_nobody_reads_stops_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    MessageLog(set_up_logging())(request(), verdict())


# -- failures


@pytest.fixture
def task() -> Task:
    return Task(request(queue_id="4F1"), engine_of().environment)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets what the log takes for the time."""

    def set_(moment: float) -> None:
        monkeypatch.setattr(logs, "monotonic", lambda: moment)

    set_(1000.0)
    return set_


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, bool]]:
    """Level, text, and whether there was a traceback."""
    found = [(one.levelname, one.getMessage(), hasattr(one, "traceback")) for one in caplog.records]
    caplog.clear()
    return found


def test_an_expected_failure_is_one_warning_with_the_ids(caplog: pytest.LogCaptureFixture, task: Task) -> None:
    FailureLog()(task, EXPECTED)
    (record,) = caplog.records
    assert (record.name, vars(record)["task_id"], vars(record)["queue_id"], vars(record)["rule"]) == (
        "filterd.rule",
        task.id,
        "4F1",
        "ASKS",
    )
    assert told(caplog) == [("WARNING", "ASKS: connect: Connection refused at /r/b.py:3 after 0.25 s", False)]


def test_a_bug_has_its_traceback_once_a_minute(
    caplog: pytest.LogCaptureFixture, task: Task, clock: Callable[[float], None]
) -> None:
    log = FailureLog()
    text = "BROKEN: KeyError: 'x' at /r/a.py:7 after 0.50 s"
    log(task, FAILURE)
    assert told(caplog) == [("ERROR", text, True)]
    clock(1059.0)
    log(task, FAILURE)
    log(task, FAILURE)
    assert told(caplog) == [
        ("ERROR", f"{text} (1 times since its traceback was logged)", False),
        ("ERROR", f"{text} (2 times since its traceback was logged)", False),
    ]
    clock(1061.0)
    log(task, FAILURE)
    assert told(caplog) == [("ERROR", text, True)]


def test_another_bug_has_a_traceback_of_its_own(caplog: pytest.LogCaptureFixture, task: Task) -> None:
    log = FailureLog()
    for where in ("/r/a.py:7", "/r/a.py:8"):
        log(task, RuleFailure("BROKEN", "exception", "x", where, traceback="T"))
    log(task, RuleFailure("OTHER", "exception", "x", "/r/a.py:7", traceback="T"))
    assert [traceback for _, _, traceback in told(caplog)] == [True, True, True]


def test_what_is_remembered_of_bugs_has_a_limit(caplog: pytest.LogCaptureFixture, task: Task) -> None:
    log = FailureLog(remembered=2)
    for number in (1, 2, 3, 3, 1):
        log(task, RuleFailure("BROKEN", "exception", "x", f"/r/a.py:{number}", traceback="T"))
    assert [traceback for _, _, traceback in told(caplog)] == [True, True, True, False, True]


@pytest.mark.parametrize("format", ["json", "text"])
def test_a_bug_is_one_report_in_the_log(stderr: Callable[[], str], task: Task, format: str) -> None:
    set_up_logging(format)
    FailureLog()(task, FAILURE)
    first, *rest = stderr().splitlines()
    if format == "json":
        line = json.loads(first)
        assert (line["text"], line["traceback"], line["rule"]) == (str(FAILURE), FAILURE.traceback, "BROKEN")
        assert rest == []
    else:
        assert first.endswith(f"{FAILURE} task_id={task.id} queue_id=4F1 rule=BROKEN")
        assert rest == ["    Traceback:", "      /r/a.py"]
