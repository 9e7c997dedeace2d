"""`[settings.*]` and `[settings_map]` of the configuration: compiled, refused, replaced while messages come."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from urllib.parse import quote

import gevent
import pytest

from filterd.daemon.assembly import Assembly, load
from filterd.daemon.config import load_config
from filterd.daemon.settings import BESIDE, LiveSettings, SettingsReader
from filterd.engine.expressions import Compiler
from filterd.engine.loader import LoadError
from filterd.mail.envelope import Envelope
from filterd.mail.map_lines import MapBroken
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from tests.support.daemon import running_daemon
from tests.support.engine import MAIL
from tests.support.pages import serving_paths
from tests.support.rules import assembled

RULES = """
from filterd import extractor, rule, sleep

@rule("A", score=1)
def a(task):
    return True

@rule("B", score=2)
def b(task):
    return True

@extractor("tenant", returns=str)
def tenant(task):
    return task.get_request_header("Tenant")

@extractor("broken", returns=str)
def broken(task):
    raise KeyError("gone")

@extractor("waits", returns=str)
def waits(task):
    sleep(0.01)

@extractor("late", returns=str, stage="results")
def late(task):
    return "x"
"""


@contextmanager
def running(folder: Path, toml: str) -> Iterator[Assembly]:
    (folder / "rules.py").write_text(RULES)
    with assembled(folder, [folder / "rules.py"], dedent(toml)) as assembly:
        yield assembly


def scanned(assembly: Assembly, **headers: str) -> Verdict:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return assembly.engine.scan(ScanRequest(Message(MAIL), Envelope.of(ip="192.0.2.77", headers=named)))


def problems_of(folder: Path, toml: str) -> list[str]:
    (folder / "rules.py").write_text(RULES)
    (folder / "filterd.toml").write_text('rules.paths = ["rules.py"]\n' + dedent(toml))
    with pytest.raises(LoadError) as caught:
        load(load_config(folder / "filterd.toml"))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


# -- expressions in conditions


def test_words_of_rule_files_and_maps_may_stand_in_conditions(tmp_path: Path) -> None:
    (tmp_path / "known.txt").write_text("acme\n")
    toml = """
    [maps.known]
    source = "file:known.txt"
    [settings.known]
    expression = "tenant in known and ip in ('192.0.2.77', '192.0.2.78') and size < 1m"
    apply = { symbols_enabled = ["A"] }
    [settings.chosen]
    selector = "tenant.equal('other')"
    apply = { symbols_enabled = ["B"] }
    [settings.mapped]
    request_header = { X-Tenant = "map:known" }
    apply = { symbols_enabled = [] }
    """
    with running(tmp_path, toml) as assembly:
        assert set(scanned(assembly, Tenant="acme").symbols) == {"A"}
        assert set(scanned(assembly, Tenant="other").symbols) == {"B"}
        assert set(scanned(assembly, X_Tenant="acme").symbols) == set()
        assert set(scanned(assembly).symbols) == {"A", "B"}


@pytest.mark.parametrize(
    ("word", "told"),
    [("broken", "KeyError: 'gone'"), ("waits", "an extractor or transform must not wait")],
)
def test_a_condition_that_raises_does_not_match_and_is_told(tmp_path: Path, word: str, told: str) -> None:
    toml = f"""
    [settings.bad]
    priority = "high"
    expression = "{word} == 'x'"
    apply = {{ whitelist = true }}
    [settings.good]
    ip = "192.0.2.77"
    apply = {{ symbols_enabled = ["A"] }}
    """
    with running(tmp_path, toml) as assembly:
        for _ in range(2):
            verdict = scanned(assembly)
            assert set(verdict.symbols) == {"A"}
            (failure,) = verdict.failures
            assert failure.rule == "settings.bad"
            assert told in failure.text


def test_what_is_wrong_is_told_at_once_with_key_and_column(tmp_path: Path) -> None:
    toml = """
    [settings.one]
    expression = "score > 4"
    priority = "urgent"
    [settings.two]
    from = "/(/"
    selector = "ip.lowerr"
    expression = "from or late == 'x'"
    [settings.three]
    ip = "map:none"
    apply = { symbol_enabled = ["A"] }
    [settings.four]
    id = "three"
    [settings.five]
    id = "three"
    [settings.six]
    expression = 3
    """
    assert problems_of(tmp_path, toml) == [
        'filterd.toml: settings.one.priority: it is "low", "medium", "high" or a whole number',
        "filterd.toml: settings.one.expression: score is known from stage score on, and this is evaluated at stage message "
        "(column 1)\n  score > 4\n  ^",
        "filterd.toml: settings.two.from: no pattern: missing ): (",
        "filterd.toml: settings.two.selector: there is no transform 'lowerr'; did you mean 'lower'? (column 4)\n"
        "  ip.lowerr\n     ^",
        "filterd.toml: settings.two.expression: late is known from stage results on, and this is evaluated at stage message "
        "(column 9)\n  from or late == 'x'\n          ^",
        "filterd.toml: settings.three.apply.symbol_enabled: there is no such key; did you mean 'symbols_enabled'?",
        "filterd.toml: settings.six.expression: 3 is not a text",
        "settings.three: two settings have this name",
    ]


def test_a_rule_file_may_register_settings_and_the_configuration_goes_before_it(tmp_path: Path) -> None:
    registering = """

def register(registry):
    registry.register_settings_id("only_a", ["A"])
    registry.register_settings_id("not_a", symbols_disabled=["A"], policy="implicit_allow")
    registry.register_settings_id("taken", ["A"])
"""
    (tmp_path / "more.py").write_text(registering)
    toml = '[settings.taken]\napply = { symbols_enabled = ["B"] }\n'
    (tmp_path / "rules.py").write_text(RULES)
    with assembled(tmp_path, [tmp_path / "rules.py", tmp_path / "more.py"], toml) as assembly:
        for name, expected in (("only_a", {"A"}), ("not_a", {"B"}), ("taken", {"B"})):
            assert set(scanned(assembly, Settings_Id=name).symbols) == expected


LOOPS = """
from filterd import extractor, rule

@extractor("loops", returns=str)
def loops(task):
    while task.get_request_header("Loop"):
        pass
    return "x"

@rule("A", score=1)
def a(task):
    return True
"""


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("settings.x", "settings.x"),
        ("composites.C", "C"),
        ("headers.X-A", "headers.X-A"),
        ("force_actions.F", "FORCE_ACTION_F"),
    ],
)
def test_a_word_that_loops_is_cut_wherever_it_stands_and_the_message_is_answered(
    tmp_path: Path, section: str, name: str
) -> None:
    more = {"headers.X-A": 'value = "y"\nwhen', "force_actions.F": 'action = "reject"\nexpression'}.get(section, "expression")
    toml = f"[limits]\nburst_timeout = '200ms'\n[{section}]\n{more} = \"loops == 'y'\"\n"
    with running_daemon(tmp_path, {"rules": LOOPS}, toml) as daemon:
        reply = daemon.scan(MAIL, Loop="yes")
        assert set(reply["symbols"]) == {"A"}
        assert reply["messages"]["rule_failures"].startswith(f"{name}: limit: held the loop for")
        assert "in loops, " in reply["messages"]["rule_failures"]
        assert "rule_failures" not in daemon.scan(MAIL)["messages"]


# -- from a map

OURS = '[ours]\nip = "192.0.2.0/24"\napply = { symbols_enabled = ["A"] }\n'
THEIRS = '[theirs]\nip = "192.0.2.77"\napply = { symbols_enabled = ["B"] }\n'


def replaced(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        gevent.sleep(0.05)


def test_a_new_version_is_used_without_a_restart_and_a_broken_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(OURS)
    toml = '[settings_map]\nsource = "file:settings.toml"\ninterval = "50ms"\n'
    with running_daemon(tmp_path, {"rules": RULES}, toml) as daemon:

        def found() -> set[str]:
            return set(daemon.scan(MAIL, IP="192.0.2.77")["symbols"])

        assert found() == {"A"}
        replaced(tmp_path / "settings.toml", THEIRS)
        until(lambda: found() == {"B"})
        replaced(tmp_path / "settings.toml", OURS + '[bad]\nfrom = 3\nexpression = "ipp == 3"\n')
        until(lambda: "bad.expression" in daemon.process.output())
        assert found() == {"B"}
        replaced(tmp_path / "settings.toml", OURS + "[bad\n")
        until(lambda: "is broken in 1 places" in daemon.process.output())
        assert found() == {"B"}
        replaced(tmp_path / "settings.toml", "")
        until(lambda: found() == {"A", "B"})
        lines = [json.loads(line)["text"] for line in daemon.process.output().splitlines() if '"filterd.maps"' in line]
    place = f"{tmp_path}/settings.toml"
    assert lines[0] == f"settings: 1 keys from {place}"
    assert f"settings: {place}: bad.from: 3 is not a text" in lines
    assert f"settings: {place}: bad.expression: there is no value 'ipp'; did you mean 'ip'? (column 1) in 'ipp == 3'" in lines
    assert f"settings: {place} is broken in 2 places; the 1 keys there are remain" in lines
    assert lines[-1] == f"settings: 0 keys from {place}"


def test_they_may_come_from_a_web_address_and_be_ucl(tmp_path: Path) -> None:
    text = 'settings { ours { ip = "192.0.2.77"; apply { symbols_enabled = [A] } } }'
    with serving_paths() as address:
        toml = f'[settings_map]\nsource = "{address}/{quote(text)}"\nformat = "ucl"\n'
        with running_daemon(tmp_path, {"rules": RULES}, toml) as daemon:
            # The server echoes its path, which is still quoted: that is no UCL with these settings.
            assert set(daemon.scan(MAIL, IP="192.0.2.77")["symbols"]) == {"A", "B"}
            assert "settings: " in daemon.process.output()
        plain = "ours={ip=192.0.2.77,apply={symbols_enabled=A}}"
        toml = f'[settings_map]\nsource = "{address}/{plain}"\nformat = "ucl"\n'
        with running_daemon(tmp_path, {"rules": RULES}, toml) as daemon:
            assert set(daemon.scan(MAIL, IP="192.0.2.77")["symbols"]) == {"A"}
            assert set(daemon.scan(MAIL, Settings_ID="ours")["symbols"]) == {"A"}


def test_a_file_that_is_broken_at_the_start_is_told_like_a_broken_rule(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[ours]\nform = "x"\n[settings]\nx = 1\n')
    toml = '[settings.ours]\nip = "192.0.2.1"\n[settings_map]\nsource = "file:settings.toml"\n'
    conditions = "ip, client_ip, from, rcpt, from_mime, rcpt_mime, user, hostname, helo, authenticated, local, header, "
    assert problems_of(tmp_path, toml) == [
        f"settings.toml: ours.form: there is no such condition; there are {conditions}request_header, selector, expression",
        f"settings.toml: settings.x: there is no such condition; there are {conditions}request_header, selector, expression",
    ]


def test_a_name_that_the_configuration_has_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(OURS)
    toml = '[settings.ours]\nip = "192.0.2.1"\n[settings_map]\nsource = "file:settings.toml"\n'
    assert problems_of(tmp_path, toml) == ["settings.toml: ours: there are settings called 'ours' already"]


def test_among_equals_the_configuration_goes_first(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(THEIRS + '[high]\npriority = "high"\nhelo = "x"\napply = { whitelist = true }\n')
    toml = OURS.replace("[ours]", "[settings.ours]") + '[settings_map]\nsource = "file:settings.toml"\n'
    with running(tmp_path, toml) as assembly:
        assert set(scanned(assembly).symbols) == {"A"}
        assert set(scanned(assembly, Settings_Id="theirs").symbols) == {"B"}
        assert scanned(assembly, Settings_Id="theirs", Helo="x").is_skipped


def test_many_settings_are_parsed_beside_the_loop_and_all_of_them_are_there() -> None:
    text = "".join(f'[user{number}]\nrcpt = "user{number}@example.org"\n' for number in range(1000))
    assert len(text) > 2 * BESIDE
    reader = SettingsReader(Compiler())
    for at in range(0, len(text), 1000):
        reader.feed(text[at : at + 1000].encode())
    turns = 0

    def tick() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0)
            turns += 1

    ticker = gevent.spawn(tick)
    elements = reader.close()
    assert turns > 1000  # a turn for each element, and many while it was parsed
    ticker.kill()
    assert [one.id for one in elements] == [f"user{number}" for number in range(1000)]


@pytest.mark.parametrize(
    ("data", "format", "told"),
    [
        (b"\xff", "toml", "line 1: is not UTF-8"),
        (b"a = 1\n\xff", "toml", "line 2: is not UTF-8"),
        (b"a = " + b"9" * 5000, "toml", "line 0: Exceeds the limit"),
        (b"x = 1", "toml", "line 0: x: it is no table of conditions and `apply`"),
        (b"[x", "toml", "line 0: "),
        (b"{" * 100_000, "ucl", "line 0: "),
        (b"x = " + b"[" * 100_000, "toml", "line 0: "),
        (b'[x]\nid = "y"\n[y]\n', "toml", "line 0: y: there are settings called 'y' already"),
    ],
)
def test_what_is_no_settings_is_told(data: bytes, format: str, told: str) -> None:
    reader = SettingsReader(Compiler(), format)  # type: ignore[arg-type]  # of a parameter
    reader.feed(data)
    with pytest.raises(MapBroken) as caught:
        reader.close()
    assert str(caught.value).startswith(told)


def test_who_follows_is_told_of_what_there_is_and_of_each_new_version() -> None:
    told: list[int] = []
    live = LiveSettings()
    live.replace(())
    live.attach(lambda elements: told.append(len(list(elements))))
    reader = SettingsReader(Compiler())
    reader.feed(OURS.encode())
    live.replace(reader.close())
    assert (told, live.version, len(live)) == ([0, 1], 2, 1)
