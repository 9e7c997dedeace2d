"""The daemon's control listener as its clients meet it: rspamc, exporters, orchestrators, the web interface's calls."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gevent
import pytest
from prometheus_client.parser import text_string_to_metric_families

from filterd.proto.passwords import hash_password
from tests.support.control import Answer, ask, reachable
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.many import Started
from tests.support.partners import free_port, require, running

RULES = {
    "some": """\
    from filterd import Task, dns, http, rule, sleep, virtual

    @rule("SIMPLE", score=1.5, group="test", description="Always there")
    def simple(task: Task) -> tuple[bool, str]:
        return True, "an option"

    @rule("BROKEN")
    def broken(task: Task) -> None:
        if task.get_request_header("break"):
            raise KeyError("no such thing")

    @rule("ASKS", score=1.0)
    def asks(task: Task) -> None:
        port = task.get_request_header("port")
        if port:
            http.request(f"http://127.0.0.1:{port}/", timeout=1.0)
            dns.request("name.example.org")

    @rule("SLOW")
    def slow(task: Task) -> None:
        if task.get_request_header("slow"):
            sleep(1.0)

    @rule("LATER", type="prefilter")
    def later(task: Task) -> None:
        if task.get_request_header("later"):
            task.set_pre_result("soft reject", "come back", "later")

    @rule("SEES_PASSWORD")
    def sees_password(task: Task) -> bool:
        return task.get_request_header("password") is not None
    """
}
FAKE_DNS = '[[dns.fake_records]]\nname = "name.example.org"\nreplies = ["192.0.2.1"]\n'
STRANGER = "127.0.0.2"


@dataclass(frozen=True)
class Controlled:
    daemon: Daemon
    port: int
    folder: Path

    def ask(self, path: str, headers: dict[str, str] | None = None, **options: object) -> Answer:
        return ask(self.port, path, headers, **options)  # type: ignore[arg-type]

    def scan(self, **headers: str) -> None:
        assert self.ask("/checkv2", headers, body=MAIL).status == 200

    def rspamc(self, *words: str) -> "subprocess.CompletedProcess[str]":
        program = require("rspamc", package="rspamd")
        mail = self.folder / "mail.eml"
        mail.write_bytes(MAIL)
        argv: list[str | Path] = [program, "-h", f"127.0.0.1:{self.port}"]
        argv += [mail if word == "MAIL" else word for word in words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=15, check=False)

    def metrics(self) -> dict[str, float]:
        return {
            f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
            for family in text_string_to_metric_families(self.ask("/metrics").body.decode())
            for sample in family.samples
        }


@contextmanager
def controlled(folder: Path, toml: str = "", *, passwords: bool = False, top: str = "") -> Iterator[Controlled]:
    port = free_port()
    guard = ""
    if passwords:
        for name, word in (("password_file", b"read me"), ("enable_password_file", b"change me")):
            (folder / name).write_text(hash_password(word, b"salt salt salt 1"))
            (folder / name).chmod(0o600)
            guard += f'{name} = "{name}"\n'
    listener = f'[listen.control]\nprotocol = "control"\nbind = "127.0.0.1:{port}"\n{guard}{top}'
    with running_daemon(folder, RULES, f"{listener}{FAKE_DNS}{toml}") as daemon:
        yield Controlled(daemon, reachable(port), folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    """For tests that do not look at counts."""
    with controlled(tmp_path_factory.mktemp("plain")) as one:
        yield one


# -- rspamc


def test_rspamc_reads_and_resets_the_counts(tmp_path: Path) -> None:
    with controlled(tmp_path) as one:
        one.scan()
        one.scan(later="yes")
        done = one.rspamc("stat")
        assert done.returncode == 0
        lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
        assert lines["Messages scanned"] == "2"
        assert lines["Messages with action soft reject"] == "1, 50.00%"
        assert lines["Messages with action no action"] == "1, 50.00%"
        assert (lines["Messages treated as spam"], lines["Messages treated as ham"]) == ("1, 50.00%", "1, 50.00%")
        assert re.fullmatch(r"0\.\d{3} sec", lines["Average scan time"])
        counters = one.rspamc("counters").stdout
        assert re.search(r"\| SIMPLE +\| +1\.5 +\| +[\d.]+ *\(0\.000\) +\| +1 +\|", counters)
        assert re.search(r"Uptime: \d+ second", one.rspamc("uptime").stdout)
        assert "Messages scanned: 2" in one.rspamc("stat_reset").stdout
        assert "Messages scanned: 0" in one.rspamc("stat").stdout
        # What Prometheus reads never goes back.
        assert one.metrics()["rspamd_scanned_total{}"] == 2.0


def test_rspamc_scans_by_the_control_port(plain: Controlled) -> None:
    assert "Symbol: SIMPLE (1.50)[an option]" in plain.rspamc("MAIL").stdout
    reply = json.loads(plain.rspamc("--json", "MAIL").stdout)
    assert (reply["score"], set(reply["symbols"])) == (1.5, {"SIMPLE"})


def test_rspamc_shows_a_soft_reject(plain: Controlled) -> None:
    shown = plain.rspamc("--header=later=yes", "MAIL").stdout
    assert "Action: soft reject" in shown
    assert "come back" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("learn_spam", "MAIL"), "no classifier is configured"),
        (("learn_ham", "MAIL"), "no classifier is configured"),
        (("-f", "1", "-w", "1", "fuzzy_add", "MAIL"), "no fuzzy storage is configured"),
    ],
)
def test_rspamc_is_told_that_nothing_is_learned(plain: Controlled, words: tuple[str, ...], told: str) -> None:
    done = plain.rspamc(*words)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr


def test_rspamc_gives_its_password(tmp_path: Path) -> None:
    with controlled(tmp_path, passwords=True, top="trusted = []\n") as one:
        assert "Messages scanned: 0" in one.rspamc("-P", "read me", "stat").stdout
        for words in (("stat",), ("-P", "wrong", "stat"), ("-P", "read me", "stat_reset")):
            done = one.rspamc(*words)
            assert done.returncode != 0
            assert "401" in done.stdout + done.stderr
        assert one.rspamc("-P", "change me", "stat_reset").returncode == 0
        # A scan with a password shows it to nobody.
        assert "SIMPLE" in (shown := one.rspamc("-P", "read me", "MAIL").stdout)
        assert "SEES_PASSWORD" not in shown
        written = one.daemon.process.output()
    assert "wrong password, number 1" in written
    assert not any(secret in written for secret in ("read me", "change me", '"wrong"'))


# -- expressions


def test_expressions_are_tried_on_a_message(plain: Controlled) -> None:
    plugins = "/plugins/selectors"
    assert {"from", "subject", "ip"} <= set(plain.ask(f"{plugins}/list_extractors").json)
    transforms = plain.ask(f"{plugins}/list_transforms").json
    assert transforms["lower"]["description"]
    asked = f"{plugins}/check_message?selector=header(%27Subject%27).upper%3Bfrom(%27smtp%27)"
    assert plain.ask(asked, {"From": "ann@example.org"}, body=MAIL).json == {
        "success": True,
        "data": ["HELLO", "ann@example.org"],
    }
    assert plain.ask(f"{plugins}/check_message?selector=user", body=MAIL).json == {"success": True, "data": []}
    wrong = plain.ask(f"{plugins}/check_selector?selector=subjct").json
    assert wrong["success"] is False
    assert "did you mean 'subject'" in wrong["error"]


# -- counts and metrics


def test_the_counts_are_of_all_doors(tmp_path: Path) -> None:
    with controlled(tmp_path) as one:
        one.daemon.scan(MAIL)
        one.scan()
        stat = one.ask("/stat").json
        assert {"action": "add header", "value": 6.0} in one.ask("/actions").json
        (group,) = [group for group in one.ask("/symbols").json if group["group"] == "test"]
        assert [rule["description"] for rule in group["rules"]] == ["Always there"]
        assert one.ask("/stat").json["control_connections"] == stat["control_connections"] + 3
    assert (stat["scanned"], stat["actions"]["no action"], stat["ham_count"]) == (2, 2, 2)
    assert stat["read_only"] is False
    assert [type(seconds) for seconds in stat["scan_times"][:3]] == [float, float, type(None)]


def test_metrics_tell_of_rules_and_of_what_they_asked(tmp_path: Path) -> None:
    with controlled(tmp_path) as one:
        one.scan()
        one.scan(**{"break": "yes"}, port=str(free_port()))
        found = one.metrics()
    expected = {
        "rspamd_scanned_total{}": 2,
        "rspamd_actions_total{no action}": 2,
        "filterd_rule_seconds_count{SIMPLE}": 2,
        "filterd_rule_hits_total{SIMPLE}": 2,
        "filterd_rule_errors_total{SIMPLE}": 0,
        "filterd_rule_errors_total{BROKEN}": 1,
        "filterd_rule_failures_total{}": 1,
        "filterd_symbol_hits_total{SIMPLE}": 2,
        "filterd_client_requests_total{http}": 1,
        "filterd_client_errors_total{http}": 1,
        "filterd_client_requests_total{dns}": 1,
        "filterd_client_replies_total{dns}": 1,
        "filterd_client_in_flight{http}": 0,
        "filterd_client_requests_total{tcp}": 0,
        "filterd_client_requests_total{redis}": 0,
        "filterd_scan_seconds_count{}": 2,
        "filterd_workers{}": 1,
        "filterd_messages_under_way{}": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["filterd_rule_seconds_sum{ASKS}"] > 0
    assert found["filterd_connections_total{control}"] >= 3
    for name in ("filterd_hub_lateness_seconds_count{}", "filterd_open_connections{scan}", "filterd_open_connections{control}"):
        assert name in found
    assert "filterd_hub_blocked_seconds_total{}" in found


def test_the_loop_is_watched(plain: Controlled) -> None:
    while plain.metrics()["filterd_hub_lateness_seconds_count{}"] < 2:
        gevent.sleep(0.1)


def test_a_message_that_is_refused_is_counted_and_ready_says_so(tmp_path: Path) -> None:
    with controlled(tmp_path, "[limits]\ntasks = 1\n") as one:
        assert one.ask("/ready", source=STRANGER).json == {"success": True}
        started = Started([partial(one.daemon.ask, MAIL, slow="yes")])
        while one.metrics()["filterd_messages_under_way{}"] == 0:
            gevent.sleep(0.02)
        assert (one.ask("/ready").status, one.ask("/healthy").status) == (503, 200)
        assert one.daemon.ask(MAIL)[0] == 503
        assert started.values()[0][0] == 200
        assert one.ask("/ready").status == 200
        assert one.metrics()["filterd_messages_refused_total{}"] == 1
        lines = [json.loads(line) for line in one.daemon.process.output().splitlines() if '"filterd.message"' in line]
    assert sorted((line["level"], line["message_id"], line.get("unscanned", "")) for line in lines) == [
        ("error", "1@example.org", "1 messages are being scanned (limits.tasks), try again later"),
        ("info", "1@example.org", ""),
    ]


# -- the history


def test_the_history_has_the_last_messages_with_times_and_failures(tmp_path: Path) -> None:
    with controlled(tmp_path) as one:
        one.scan(**{"from": "ann@example.org", "rcpt": "bob@example.net", "queue-id": "4F1", "ip": "192.0.2.7"})
        one.scan(**{"break": "yes"})
        history = one.ask("/history").json
        assert history["version"] == 2
        broken, first = history["rows"]
        assert (first["sender_smtp"], first["rcpt_smtp"], first["queue_id"], first["ip"]) == (
            "ann@example.org",
            ["bob@example.net"],
            "4F1",
            "192.0.2.7",
        )
        assert first["symbols"]["SIMPLE"]["options"] == ["an option"]
        assert set(first["timings"]) >= {"SIMPLE", "BROKEN", "SLOW"}
        assert re.match(r"BROKEN: KeyError: 'no such thing' at .*some\.py:\d+ after", broken["failures"][0])
        errors = one.ask("/errors").json
        assert (errors[0]["module"], errors[0]["type"], errors[0]["id"]) == ("rule", "error", broken["task_id"])
        assert one.ask("/history?from=1&to=1").json["rows"] == [first]
        assert one.ask("/historyreset").json == {"success": True}
        assert one.ask("/history").json["rows"] == []


def test_the_history_is_there_after_a_restart(tmp_path: Path) -> None:
    toml = '[store]\npath = "state.sqlite"\n[history]\nrows = 3\n'
    with controlled(tmp_path, toml) as one:
        for number in range(5):
            one.scan(**{"queue-id": str(number)})
    with controlled(tmp_path, toml) as one:
        one.scan(**{"queue-id": "5"})
        assert [row["queue_id"] for row in one.ask("/history").json["rows"]] == ["5", "4", "3"]
    assert (tmp_path / "state.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_was_judged_a_second_ago_survives_a_kill(tmp_path: Path) -> None:
    toml = '[store]\npath = "state.sqlite"\n'
    with controlled(tmp_path, toml) as one:
        one.scan(**{"queue-id": "1"})
        one.ask("/history")
        one.daemon.process.process.kill()
        one.daemon.process.process.wait()
    with controlled(tmp_path, toml) as one:
        assert [row["queue_id"] for row in one.ask("/history").json["rows"]] == ["1"]


def test_two_daemons_write_one_history(tmp_path: Path) -> None:
    """As two workers do."""
    toml = f'[store]\npath = "{tmp_path}/state.sqlite"\n'
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with controlled(tmp_path / "a", toml) as first, controlled(tmp_path / "b", toml) as second:
        first.scan(**{"queue-id": "1"})
        first.ask("/history")
        second.scan(**{"queue-id": "2"})
        assert [row["queue_id"] for row in second.ask("/history").json["rows"]] == ["2", "1"]
        assert [row["queue_id"] for row in first.ask("/history").json["rows"]] == ["2", "1"]


@pytest.mark.parametrize("harm", ["broken", "folder", "locked"])
def test_a_store_that_cannot_be_used_stops_no_mail_and_is_said_once(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "state.sqlite"
    holder = None
    if harm == "broken":
        path.write_bytes(b"this is not a database" * 100)
    elif harm == "folder":
        path.mkdir()
    else:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
    with controlled(tmp_path, '[store]\npath = "state.sqlite"\n') as one:
        for number in range(3):
            one.scan(**{"queue-id": str(number)})
            assert len(one.ask("/history").json["rows"]) == number + 1
        lines = [line for line in one.daemon.process.output().splitlines() if '"filterd.store"' in line]
    if holder is not None:
        holder.close()
    assert len(lines) == 1
    assert f"{path} cannot be used" in lines[0]


def test_without_a_control_listener_nothing_is_kept(tmp_path: Path) -> None:
    with running_daemon(tmp_path, RULES) as daemon:
        daemon.scan(MAIL)
    assert not list(tmp_path.glob("*.sqlite"))


# -- maps


def test_a_map_is_changed_by_the_control_listener_and_used(tmp_path: Path) -> None:
    (tmp_path / "friends.txt").write_text("ann@example.org\n")
    toml = (
        '[maps.friends]\nsource = "file:friends.txt"\nkey = "from(\'smtp\')"\nsymbol = "FRIEND"\ndescription = "Who we know"\n'
    )
    with controlled(tmp_path, toml) as one:
        (told,) = one.ask("/maps").json
        assert (told["description"], told["uri"]) == ("Who we know", str(tmp_path / "friends.txt"))
        number = {"Map": str(told["map"])}
        assert one.ask("/getmap", number).body == b"ann@example.org\n"
        assert "FRIEND" not in one.daemon.scan(MAIL, From="bob@example.net")["symbols"]
        assert one.ask("/savemap", number, body=b"bob@example.net\n").json == {"success": True}
        assert "FRIEND" in one.daemon.scan(MAIL, From="bob@example.net")["symbols"]


# -- who gets in


def test_password_files_that_cannot_be_used_are_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "open").write_text(hash_password(b"x", b"salt salt salt 1"))
    (tmp_path / "open").chmod(0o644)
    told = r"listen\.control\.password_file: .*/open may be read or changed by others"
    with pytest.raises(AssertionError, match=told), controlled(tmp_path, top='password_file = "open"\n'):
        pass


def test_from_elsewhere_only_the_probes_are_open(plain: Controlled) -> None:
    for path in ("/ping", "/healthy", "/ready"):
        assert plain.ask(path, source=STRANGER).status == 200
    for path in ("/stat", "/history", "/metrics", "/checkv2", "/statreset"):
        assert plain.ask(path, source=STRANGER).status == 401


NGINX = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{control};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


def test_behind_nginx_its_clients_are_judged(tmp_path: Path) -> None:
    nginx = require("nginx", package="nginx-light")
    port = free_port()
    with controlled(tmp_path, passwords=True) as one:
        conf = tmp_path / "nginx.conf"
        conf.write_text(NGINX.format(folder=tmp_path, port=port, control=one.port))
        with running([nginx, "-e", tmp_path / "error.log", "-p", tmp_path, "-c", conf], ready=port):
            assert ask(port, "/statreset").status == 200
            assert ask(port, "/stat", source=STRANGER).status == 401
            # What the client writes into the header itself does not help it.
            assert ask(port, "/stat", {"X-Forwarded-For": "127.0.0.1"}, source=STRANGER).status == 401
            assert ask(port, "/stat", {"X-Real-IP": "127.0.0.1"}, source=STRANGER).status == 401
            assert ask(port, "/stat", {"Password": "read me"}, source=STRANGER).status == 200
            # Guesses are counted against the client, not against the proxy.
            for _ in range(11):
                last = ask(port, "/stat", {"Password": "guess"}, source=STRANGER).status
            assert last == 429
            assert ask(port, "/stat", {"Password": "read me"}, source="127.0.0.3").status == 200


def test_the_web_interface_of_rspamd_is_served_with_all_its_files(tmp_path: Path) -> None:
    require("rspamc", package="rspamd")
    folder = Path("/usr/share/rspamd/www")
    if not folder.is_dir():
        pytest.skip("this package of rspamd has no web interface")
    with controlled(tmp_path, top=f'static_dir = "{folder}"\n') as one:
        page = one.ask("/", source=STRANGER)
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        named = re.findall(r'(?:src|href)="\./([^"#?]+)', page.body.decode())
        assert "js/lib/require.min.js" in named
        for name in [*named, "js/app/rspamd.js", "js/app/history.js"]:
            answer = one.ask(f"/{name}", source=STRANGER)
            assert (answer.status, answer.body) == (200, (folder / name).read_bytes())
        # What it asks first: without a password it shows its dialogue, with one it goes on.
        assert one.ask("/stat", source=STRANGER).status == 401
        own = {"Origin": "http://127.0.0.1", "Password": "", "X-Requested-With": "XMLHttpRequest"}
        for path in ("stat", "auth", "neighbours", "symbols", "actions", "maps", "errors", "history"):
            assert one.ask(f"/{path}", own).status == 200
