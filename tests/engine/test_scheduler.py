"""The promises of the scheduler, each with a tiny rule of its own."""

import contextvars
import gc
import weakref
from dataclasses import replace
from functools import partial
from typing import Any

import gevent
import pytest

from filterd.engine.scheduler import Engine
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.outcome import Failure, RequestFailed
from filterd.task import Task, current, sleep
from tests.support.engine import MAIL, engine_of, rule_of, scan_with
from tests.support.many import at_once


def hit(task: Task) -> bool:
    return True


def miss(task: Task) -> None:
    return None


# -- what a rule may return


@pytest.mark.parametrize(
    ("value", "score", "options"),
    [
        (True, 2.0, ()),
        (1, 2.0, ()),
        (0.5, 1.0, ()),
        (-1, -2.0, ()),
        ((True, "a", "b"), 2.0, ("a", "b")),
        ((2, "a"), 4.0, ("a",)),
        ((True, ["a", "b"], 3), 2.0, ("a", "b", "3")),
    ],
)
def test_a_value_is_a_hit_of_the_rules_own_symbol(value: Any, score: float, options: tuple[str, ...]) -> None:
    found = scan_with(rule_of(lambda task: value, "X", score=2.0)).symbols["X"]
    assert (found.score, found.options, found.metric_score) == (score, options, 2.0)


@pytest.mark.parametrize("value", [None, False, 0, 0.0, (), (None,), (False, "a"), (0, "a")])
def test_no_value_is_no_hit(value: Any) -> None:
    verdict = scan_with(rule_of(lambda task: value, "X"))
    assert verdict.symbols == {}
    assert verdict.failures == ()


@pytest.mark.parametrize("value", ["text", object(), (["a"],), b"x"])
def test_another_value_is_a_failure_that_says_what_may_be_returned(value: Any) -> None:
    (failure,) = scan_with(rule_of(lambda task: value, "X")).failures
    assert "a rule returns None, True, a number" in failure.text


# -- one rule's failure is its own


def test_a_rule_that_raises_costs_only_its_own_result() -> None:
    def broken(task: Task) -> None:
        raise KeyError("no such thing")

    verdict = scan_with(broken, hit)
    assert set(verdict.symbols) == {"HIT"}
    (failure,) = verdict.failures
    assert (failure.rule, failure.kind, failure.text) == ("BROKEN", "exception", "KeyError: 'no such thing'")
    line = broken.__code__.co_firstlineno + 1
    assert failure.where == f"{__file__}:{line}"
    assert failure.traceback.splitlines()[1] == f'  File "{__file__}", line {line}, in broken'


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), gevent.GreenletExit(), BaseException("x")]
)
def test_exceptions_that_are_none_are_contained_too(error: BaseException) -> None:
    def rude(task: Task) -> None:
        raise error

    verdict = scan_with(rude, hit)
    assert set(verdict.symbols) == {"HIT"}
    assert [failure.rule for failure in verdict.failures] == ["RUDE"]


def test_a_failed_request_is_an_expected_failure_without_a_traceback() -> None:
    def asks(task: Task) -> None:
        raise RequestFailed(Failure("Connection refused", kind="connect", peer="127.0.0.1:1", phase="connect", elapsed=0.25))

    (failure,) = scan_with(asks).failures
    assert (failure.kind, failure.peer, failure.phase, failure.traceback) == ("connect", "127.0.0.1:1", "connect", "")
    assert failure.text == "connect: Connection refused with 127.0.0.1:1 after 0.25 s"


def test_on_error_symbol_adds_rule_failed() -> None:
    def broken(task: Task) -> None:
        raise ValueError

    verdict = scan_with(rule_of(broken, on_error="symbol"))
    assert verdict.symbols["RULE_FAILED"].options == ("BROKEN",)
    assert verdict.symbols["RULE_FAILED"].score == 0.0


def test_on_error_tempfail_asks_the_mta_to_come_again() -> None:
    def broken(task: Task) -> None:
        raise ValueError

    verdict = scan_with(rule_of(broken, on_error="tempfail"))
    assert verdict.action == "soft reject"
    assert verdict.messages == {"smtp_message": "BROKEN could not be checked, try again later"}


def test_a_failure_is_told_when_it_happens() -> None:
    told: list[tuple[str, str]] = []

    def broken(task: Task) -> None:
        raise ValueError

    scan_with(broken, on_failure=lambda task, failure: told.append((task.id, failure.rule)))
    assert [name for _, name in told] == ["BROKEN"]


# -- time


def test_the_budget_stops_a_rule_that_waits_and_the_others_count() -> None:
    finished: list[str] = []

    def never(task: Task) -> None:
        try:
            sleep(60)
        finally:
            finished.append("finally")

    verdict = scan_with(never, hit, task_timeout=0.1)
    assert set(verdict.symbols) == {"HIT"}
    assert verdict.timed_out
    assert finished == ["finally"]
    (failure,) = verdict.failures
    assert (failure.rule, failure.kind, failure.phase) == ("NEVER", "timeout", "sleep")
    assert failure.text.startswith("timeout: the message's budget of 0.1 s is over")
    assert failure.where == f"{__file__}:{never.__code__.co_firstlineno + 2}"


def test_a_rules_own_timeout_stops_it_and_not_the_message() -> None:
    def slow(task: Task) -> None:
        sleep(60)

    verdict = scan_with(rule_of(slow, timeout=0.05), hit)
    assert not verdict.timed_out
    assert [failure.text for failure in verdict.failures] == ["timeout: its own timeout of 0.05 s is over while sleep"]


def test_except_exception_does_not_swallow_the_stop() -> None:
    def stubborn(task: Task) -> None:
        try:
            sleep(60)
        except Exception:  # noqa: BLE001 - that is the point
            task.insert_result("SWALLOWED")

    verdict = scan_with(stubborn, task_timeout=0.05)
    assert "SWALLOWED" not in verdict.symbols
    assert [failure.rule for failure in verdict.failures] == ["STUBBORN"]


def test_a_rule_that_swallows_every_stop_is_abandoned_and_the_message_answered() -> None:
    done: list[bool] = []

    def deaf(task: Task) -> None:
        while not done:
            try:
                sleep(60)
            except BaseException:  # noqa: BLE001 - that is the point
                pass

    engine = engine_of(deaf, hit, task_timeout=0.05)
    verdict = engine.scan(request())
    done.append(True)
    assert set(verdict.symbols) == {"HIT"}
    assert "abandoned" in verdict.failures[0].text
    assert engine.environment.crew.disowned == 1


def test_postfilters_run_after_the_budget_is_over_with_one_of_their_own() -> None:
    def never(task: Task) -> None:
        sleep(60)

    def late(task: Task) -> bool:
        sleep(0.01)
        return True

    verdict = scan_with(never, rule_of(late, type="postfilter"), task_timeout=0.1)
    assert set(verdict.symbols) == {"LATE"}


def test_what_the_budget_did_not_reach_is_said() -> None:
    def gate(task: Task) -> None:
        sleep(60)

    verdict = scan_with(rule_of(gate, type="prefilter"), hit, task_timeout=0.05)
    assert verdict.symbols == {}
    assert [(failure.rule, "not begun" in failure.text) for failure in verdict.failures] == [("GATE", False), ("HIT", True)]


# -- order


def test_stages_run_in_order_and_priorities_are_barriers() -> None:
    order: list[str] = []

    def noted(name: str) -> Any:
        def note(task: Task) -> None:
            sleep(0.005)
            order.append(name)

        return note

    scan_with(
        rule_of(noted("idempotent"), "I", type="idempotent"),
        rule_of(noted("post 10"), "P10", type="postfilter", priority=10),
        rule_of(noted("post 0"), "P0", type="postfilter"),
        rule_of(noted("filter"), "F"),
        rule_of(noted("pre 0"), "R0", type="prefilter"),
        rule_of(noted("pre 10"), "R10", type="prefilter", priority=10),
    )
    assert order == ["pre 10", "pre 0", "filter", "post 0", "post 10", "idempotent"]


def test_filters_wait_at_the_same_time() -> None:
    together: list[int] = []
    inside = 0

    def waits(task: Task) -> None:
        nonlocal inside
        inside += 1
        sleep(0.02)
        together.append(inside)

    scan_with(*(rule_of(waits, f"W{number}") for number in range(20)))
    assert together == [20] * 20


def test_a_pre_result_ends_the_search() -> None:
    def decides(task: Task) -> None:
        task.set_pre_result("soft reject", "come later", "here")

    verdict = scan_with(
        rule_of(decides, type="prefilter"),
        hit,
        rule_of(hit, "ALWAYS", flags="ignore_passthrough"),
    )
    assert verdict.action == "soft reject"
    assert set(verdict.symbols) == {"ALWAYS"}
    assert verdict.messages == {"smtp_message": "come later"}
    assert verdict.passthrough_module == "here"


def test_a_pre_result_that_is_a_floor_ends_nothing() -> None:
    def floor(task: Task) -> None:
        task.set_pre_result("add header", least=True)

    verdict = scan_with(rule_of(floor, type="prefilter"), hit)
    assert (verdict.action, verdict.score, set(verdict.symbols)) == ("add header", 6.0, {"HIT"})


def test_an_idempotent_rule_sees_the_verdict_and_cannot_change_it() -> None:
    seen: list[tuple[str, float]] = []

    def looks(task: Task) -> None:
        seen.append((task.action, task.score))

    changes = [
        lambda task: True,
        lambda task: task.adjust_result("HIT", 5.0),
        lambda task: task.remove_result("HIT"),
        lambda task: task.set_pre_result("reject"),
    ]
    verdict = scan_with(
        hit,
        rule_of(looks, type="idempotent"),
        *(rule_of(change, f"C{number}", type="idempotent") for number, change in enumerate(changes)),
    )
    assert seen == [("no action", 1.0)]
    assert (verdict.action, verdict.score, set(verdict.symbols)) == ("no action", 1.0, {"HIT"})
    assert [(failure.rule, "verdict is made" in failure.text) for failure in verdict.failures] == [
        (f"C{n}", True) for n in range(4)
    ]


def test_a_condition_keeps_a_rule_from_running() -> None:
    verdict = scan_with(
        rule_of(hit, "YES", condition=lambda task: task.message.subject == "hello"),
        rule_of(hit, "NO", condition=lambda task: False),
    )
    assert set(verdict.symbols) == {"YES"}


def test_an_empty_message_runs_only_rules_that_ask_for_it() -> None:
    verdict = scan_with(hit, rule_of(hit, "EMPTY", flags="empty"), raw=b"")
    assert set(verdict.symbols) == {"EMPTY"}


# -- inline rules never wait


def test_an_inline_rule_that_waits_is_named() -> None:
    def promised(task: Task) -> None:
        sleep(0.01)

    def free(task: Task) -> None:
        sleep(0.01)

    verdict = scan_with(rule_of(promised, inline=True), free, rule_of(hit, inline=True))
    assert [(failure.rule, "is inline and must not wait" in failure.text) for failure in verdict.failures] == [
        ("PROMISED", True)
    ]
    assert set(verdict.symbols) == {"HIT"}


# -- children


def test_the_message_waits_for_children_and_their_failure_is_the_rules() -> None:
    def parent(task: Task) -> None:
        def child(number: int) -> None:
            sleep(0.01)
            task.insert_result("CHILD", 1.0, number)
            if number == 2:
                raise ValueError("second")

        for number in (1, 2, 3):
            task.spawn(child, number)

    verdict = scan_with(parent)
    assert set(verdict.symbols["CHILD"].options) == {"1", "2", "3"}
    assert [(failure.rule, failure.text) for failure in verdict.failures] == [("PARENT", "ValueError: second")]


def test_a_childs_value_and_exception_come_to_who_asks() -> None:
    def parent(task: Task) -> tuple[Any, ...]:
        double = task.spawn(lambda: 2 * 21)
        broken = task.spawn(lambda: 1 // 0)
        try:
            broken.get()
        except ZeroDivisionError:
            return True, double.get()
        return ()

    verdict = scan_with(parent)
    assert verdict.symbols["PARENT"].options == ("42",)
    assert verdict.failures == ()


@pytest.mark.parametrize("limit", [None, 1, 2, 100])
def test_map_keeps_the_order_and_the_limit(limit: int | None) -> None:
    at_once: list[int] = []
    inside = 0

    def rule(task: Task) -> tuple[Any, ...]:
        def square(number: int) -> int:
            nonlocal inside
            inside += 1
            at_once.append(inside)
            sleep(0.001 * (5 - number))
            inside -= 1
            return number * number

        return True, task.map(square, range(5), limit)

    verdict = scan_with(rule)
    assert verdict.symbols["RULE"].options == ("0", "1", "4", "9", "16")
    assert max(at_once) == min(limit or 5, 5)


def test_map_raises_what_its_function_raises() -> None:
    def rule(task: Task) -> None:
        task.map(lambda number: 1 // number, [1, 0])

    (failure,) = scan_with(rule).failures
    assert failure.text.startswith("ZeroDivisionError")


def test_a_child_is_stopped_with_its_message() -> None:
    def parent(task: Task) -> None:
        task.spawn(sleep, 60)

    verdict = scan_with(parent, task_timeout=0.05)
    assert [(failure.rule, failure.kind) for failure in verdict.failures] == [("PARENT", "timeout")]


# -- nothing leaks from one message to the next


def test_context_variables_are_each_rules_own() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="fresh")
    seen: list[str] = []

    def reads_then_sets(task: Task) -> None:
        seen.append(variable.get())
        variable.set("used")
        task.spawn(lambda: seen.append(f"child: {variable.get()}"))

    engine = engine_of(*(rule_of(reads_then_sets, f"R{number}") for number in range(3)))
    engine.scan(request())
    engine.scan(request())
    assert sorted(seen) == ["child: used"] * 6 + ["fresh"] * 6


def test_current_is_the_task_inside_and_nothing_outside() -> None:
    seen: list[Any] = []

    def rule(task: Task) -> None:
        seen.append(current() is task)
        task.spawn(lambda: seen.append(current() is task))

    scan_with(rule)
    assert seen == [True, True]
    assert current() is None


def test_a_message_is_forgotten_once_it_is_answered() -> None:
    engine = engine_of(hit, rule_of(lambda task: sleep(0.001), "WAITS"))
    one = request()
    ghost = weakref.ref(one.message)
    engine.scan(one)
    del one
    gevent.sleep(0)  # the hub is still in the call that woke this greenlet
    gc.collect()
    assert ghost() is None


@pytest.mark.parametrize("flags", ["", "skip"])
def test_a_message_goes_with_its_last_reference_and_leaves_nothing_to_the_garbage_collector(flags: str) -> None:
    """What circles keep is collected later, which costs more than many a scan."""

    def looks(task: Task) -> bool:
        task.spawn(lambda: task.message.urls).get()
        return True

    engine = engine_of(looks, rule_of(hit, "LATER", type="postfilter"), rule_of(hit, "LAST", after=("LOOKS",)))
    gc.collect()
    gc.disable()
    try:
        one = ScanRequest(Message(MAIL), Envelope.of(headers=[("flags", flags)]))
        ghost = weakref.ref(one.message)
        engine.scan(one)
        del one
        gevent.sleep(0)
        assert ghost() is None
    finally:
        gc.enable()


def test_connections_of_a_message_are_closed_with_it() -> None:
    closed: list[str] = []

    class Resource:
        def close(self) -> None:
            closed.append("closed")

    def opens(task: Task) -> None:
        task.adopt(Resource())
        kept = Resource()
        task.adopt(kept)
        task.release(kept)

    scan_with(opens)
    assert closed == ["closed"]


# -- many at once


def request() -> ScanRequest:
    return ScanRequest(Message(MAIL), Envelope({}))


def test_messages_wait_side_by_side_and_keep_their_own_results() -> None:
    def waits(task: Task) -> tuple[bool, str]:
        sleep(0.05)
        return True, task.queue_id or ""

    engine = engine_of(*(rule_of(waits, f"W{number}") for number in range(3)))
    requests = [ScanRequest(Message(MAIL), Envelope({"queue-id": [str(number)]})) for number in range(200)]
    verdicts = at_once(partial(engine.scan, one) for one in requests)
    assert [{hit.options for hit in verdict.symbols.values()} for verdict in verdicts] == [{(str(n),)} for n in range(200)]
    assert engine.rules[0].runs == 200
    assert engine.rules[0].hits == 200


def test_greenlets_are_reused_from_message_to_message() -> None:
    engine: Engine = engine_of(*(rule_of(lambda task: sleep(0.0005), f"W{number}") for number in range(5)))
    for _ in range(20):
        engine.scan(request())
    assert engine.environment.crew.alive == 5


def test_rules_that_never_wait_share_one_greenlet() -> None:
    engine = engine_of(*(rule_of(miss, f"M{number}") for number in range(100)))
    engine.scan(request())
    assert engine.environment.crew.alive == 1


def test_ids_differ_from_message_to_message() -> None:
    engine = engine_of(hit)
    assert len({engine.scan(request()).task_id for _ in range(100)}) == 100


# -- the verdict


def test_a_rewritten_subject_is_part_of_the_verdict() -> None:
    verdict = scan_with(rule_of(hit, score=7.0), thresholds={"rewrite subject": 5.0, "reject": 15.0})
    assert (verdict.action, verdict.subject) == ("rewrite subject", "*** SPAM *** hello")


def test_a_replaced_body_is_part_of_the_verdict() -> None:
    def replaces(task: Task) -> None:
        task.replace_body("neu: ü")

    assert scan_with(replaces).body == "neu: ü".encode()


def test_an_action_nobody_knows_is_the_rules_error() -> None:
    def decides(task: Task) -> None:
        task.set_pre_result("bounce")

    (failure,) = scan_with(decides).failures
    assert failure.text.startswith("ValueError: there is no action 'bounce'; there are reject, soft reject")


LINKED = MAIL + b"see https://www.example.com/x or write to carl@example.com\r\n"


def test_links_are_in_the_verdict_once_a_rule_has_looked_at_them() -> None:
    def looks(task: Task) -> None:
        assert task.message.emails == ["carl@example.com"]

    found = scan_with(looks, raw=LINKED)
    assert found.failures == ()
    assert ([url.host for url in found.urls or ()], found.emails) == (["www.example.com"], ["carl@example.com"])
    assert scan_with(hit, raw=LINKED).urls is None


def test_links_are_in_the_verdict_for_a_client_that_asks() -> None:
    found = scan_with(hit, raw=LINKED, envelope=Envelope({"url-format": ["extended"]}))
    assert [url.host for url in found.urls or ()] == ["www.example.com"]


def test_a_rule_for_mime_runs_on_nothing_else() -> None:
    def mime(task: Task) -> bool:
        return True

    def any_(task: Task) -> bool:
        return True

    engine = engine_of(rule_of(mime, flags="mime"), rule_of(any_, "ANY"))
    assert set(engine.scan(ScanRequest(Message(MAIL), Envelope({}))).symbols) == {"MIME", "ANY"}
    assert set(engine.scan(ScanRequest(Message(MAIL, is_mime=False), Envelope({}))).symbols) == {"ANY"}


def test_a_rule_that_is_not_to_be_counted_is_not() -> None:
    def counted(task: Task) -> bool:
        return True

    engine = engine_of(counted, rule_of(counted, "SILENT", flags="nostat"))
    assert set(engine.scan(ScanRequest(Message(MAIL), Envelope({}))).symbols) == {"COUNTED", "SILENT"}
    assert [(one.runs, one.hits) for one in engine.rules] == [(1, 1), (0, 0)]


@pytest.mark.parametrize(("points", "action"), [(1.0, "soft reject"), (20.0, "reject")])
def test_a_message_out_of_time_may_be_asked_for_again(points: float, action: str) -> None:
    def waits(task: Task) -> None:
        task.insert_result("FOUND", 1.0)
        task.sleep(30)

    engine = engine_of(waits, rule_of(None, "FOUND", type="virtual", parent="WAITS", score=points), task_timeout=0.1)
    engine.environment = replace(engine.environment, soft_reject_on_timeout=True)
    verdict = engine.scan(ScanRequest(Message(MAIL), Envelope({})))
    assert (verdict.action, verdict.timed_out) == (action, True)
    if action == "soft reject":
        assert verdict.messages["smtp_message"] == "Could not be checked in time, try again later"
