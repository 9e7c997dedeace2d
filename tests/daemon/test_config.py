"""What load_config promises: the order of the layers, every mistake at once, and shipped files that are true."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from filterd.daemon.config import ConfigError, Problem, default_config_path, load_config
from filterd.daemon.keys import schema_keys, settings
from filterd.daemon.schema import Config

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "conf" / "filterd.toml"
BAD = sorted((ROOT / "tests" / "scenarios" / "bad_conf").glob("*.toml"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory too, so that messages name its files shortly."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local.d").mkdir()
    return tmp_path


def refused(path: str | Path, *, sets: Sequence[str] = (), rules: Sequence[str] = ()) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(path, sets=sets, rules=rules)
    return str(raised.value).splitlines()


# -------------------------------------------------------------------------------------------------------------- the layers


def test_each_layer_is_merged_over_those_before_it(folder: Path) -> None:
    (folder / "scores.toml").write_text(
        "limits.tasks = 1\nlimits.task_timeout = 1\nlimits.message = 1\nlimits.burst_timeout = 1"
    )
    (folder / "f.toml").write_text("limits.tasks = 2\nlimits.task_timeout = 2\nlimits.message = 2")
    (folder / "local.d" / "b.toml").write_text("limits.tasks = 4")
    (folder / "local.d" / "a.toml").write_text("limits.tasks = 3\nlimits.task_timeout = 3")
    (folder / "local.d" / "c.conf").write_text("not TOML, not read")
    config = load_config("f.toml", sets=["workers.count=auto"])
    assert config.limits.tasks == 4
    assert config.limits.task_timeout == 3.0
    assert config.limits.message == 2
    assert config.limits.burst_timeout == 1.0
    assert config.workers.count == "auto"
    assert {key: config.origin(f"limits.{key}") for key in ("tasks", "task_timeout", "message", "burst_timeout")} == {
        "tasks": "local.d/b.toml",
        "task_timeout": "local.d/a.toml",
        "message": "f.toml",
        "burst_timeout": "scores.toml",
    }
    assert config.origin("workers.count") == "--set"
    assert config.origin("dns.timeout") == "default"


def test_options_win_over_files_and_the_last_one_over_the_others(folder: Path) -> None:
    (folder / "f.toml").write_text("[limits]\ntasks = 2\n[rules]\npaths = []\n")
    config = load_config("f.toml", sets=["limits.tasks=5", "limits.tasks=6", "rules.paths=[]"], rules=["local.d"])
    assert config.limits.tasks == 6
    assert config.rules.paths == (folder / "local.d",)
    assert config.origin("rules.paths") == "--rules"


def test_a_list_is_replaced_and_a_table_is_merged(folder: Path) -> None:
    (folder / "f.toml").write_text('[rules]\nenable = ["A", "B"]\ndisable = ["C"]\n')
    (folder / "local.d" / "x.toml").write_text('[rules]\nenable = ["D"]\n')
    config = load_config("f.toml")
    assert config.rules.enable == ("D",)
    assert config.rules.disable == ("C",)


def test_a_score_alone_keeps_group_and_description_of_the_symbol(folder: Path) -> None:
    (folder / "scores.toml").write_text('[symbols]\nA = { score = 1, group = "g", description = "d" }\n')
    (folder / "f.toml").write_text("[symbols]\nA = 2.5\n")
    (folder / "local.d" / "x.toml").write_text("[symbols]\nB = 1\n")
    symbols = load_config("f.toml").symbols
    assert (symbols["A"].score, symbols["A"].group, symbols["A"].description) == (2.5, "g", "d")
    assert symbols["B"].score == 1.0


@pytest.mark.parametrize("option", ["actions.reject=false", "actions.reject=null", 'actions.reject="null"'])
def test_an_action_is_disabled_by_false_and_on_the_command_line_by_null(folder: Path, option: str) -> None:
    (folder / "f.toml").write_text("")
    assert load_config("f.toml", sets=[option]).actions.thresholds == {"add header": 6.0, "greylist": 4.0}


def test_an_action_may_be_spelt_with_underscores_in_any_layer(folder: Path) -> None:
    (folder / "f.toml").write_text('[actions]\n"add header" = 6\nsoft_reject = 9')
    (folder / "local.d" / "x.toml").write_text("[actions]\nadd_header = 7\n")
    config = load_config("f.toml")
    assert config.actions.thresholds == {"reject": 15.0, "soft reject": 9.0, "add header": 7.0, "greylist": 4.0}
    assert config.origin('actions."add header"') == "local.d/x.toml"


def test_a_relative_path_counts_from_the_folder_of_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etc", "etc/local.d", "etc/rules", "etc/local.d/ca", "elsewhere", "elsewhere/rules"):
        (folder / name).mkdir()
    (folder / "etc" / "f.toml").write_text(
        'log.file = "f.log"\nrules.paths = "rules"\nlisten.a = { protocol = "http", bind = "unix:run/f.sock" }\n'
        'redis.servers = "127.0.0.1, unix:run/redis.sock"\n'
    )
    (folder / "etc" / "local.d" / "x.toml").write_text('http.tls_ca_path = "ca"')
    monkeypatch.chdir(folder / "elsewhere")
    config = load_config("../etc/f.toml")
    assert config.rules.paths == (folder / "etc" / "rules",)
    assert config.log.file == folder / "etc" / "f.log"
    assert config.http.tls_ca_path == folder / "etc" / "local.d" / "ca"
    assert config.listen["a"].bind[0].path == str(folder / "etc" / "run" / "f.sock")
    assert config.redis.servers[1].path == str(folder / "etc" / "run" / "redis.sock")
    for sets, rules in ((["rules.paths=rules"], []), ([], ["rules"])):
        assert load_config("../etc/f.toml", sets=sets, rules=rules).rules.paths == (folder / "elsewhere" / "rules",)


# -------------------------------------------------------------------------------------------------------------- the mistakes


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_configuration_is_refused_naming_file_and_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file begins with the lines it is refused with, all of them: `# refused: key: sentence`."""
    monkeypatch.chdir(path.parent)
    expected = []
    for line in path.read_bytes().decode(errors="replace").splitlines():
        if match := re.fullmatch(r"# refused(-at (?P<place>[\d:]+))?: (?P<text>.*)", line):
            place = f":{match['place']}" if match["place"] else ""
            expected.append(f"{path.name}{place}: {match['text'].replace('{here}', str(path.parent))}")
    assert expected
    assert sorted(refused(path.name)) == sorted(expected)


def test_mistakes_of_all_layers_are_told_at_once_each_with_its_own(folder: Path) -> None:
    (folder / "scores.toml").write_text("[symbols]\nA = [1]\n")
    (folder / "f.toml").write_text("[limits]\ntasks = 'x'\n[listen.a]\nprotocol = 'http'\n")
    (folder / "local.d" / "a.toml").write_text("[limits\n")
    (folder / "local.d" / "b.toml").write_text("[dns]\ntimeout = 'x'\n")
    assert sorted(refused("f.toml", sets=["nonsense", "log.level=loud", "a.b=1"], rules=["nowhere"])) == [
        '--rules: rules.paths[0]: "nowhere" does not exist (looked for ' + f"{folder}/nowhere)",
        '--set: "nonsense" is not KEY=VALUE (a dotted key such as limits.task_timeout=4s)',
        "--set: a: unknown key; there are " + ", ".join(Config.model_fields),
        '--set: log.level: "loud" is not "debug", "info", "notice", "warning", "error", "crit", "alert" or "emerg"',
        'f.toml: limits.tasks: "x" is not a whole number',
        "local.d/a.toml:1:8: Expected ']' at the end of a table declaration",
        'local.d/b.toml: dns.timeout: "x" is not a duration (seconds, or "500ms", "8s", "1h")',
        "scores.toml: symbols.A: [1] is not a score (a number) or a table with one",
    ]


def test_what_may_stand_in_an_unreadable_file_is_not_called_missing(folder: Path) -> None:
    (folder / "f.toml").write_text("[listen.a]\nprotocol = 'http'\n")
    assert refused("f.toml") == ["f.toml: listen.a.bind: is missing"]
    (folder / "local.d" / "a.toml").write_text("[listen.a]\nbind = ?\n")
    assert refused("f.toml") == ["local.d/a.toml:2:8: Invalid value"]


def test_a_problem_can_be_read_by_a_program(folder: Path) -> None:
    (folder / "f.toml").write_text("[limits]\ntask_timeout = 'soon'\ntask = 1\n")
    with pytest.raises(ConfigError) as raised:
        load_config("f.toml")
    assert raised.value.problems == (
        Problem("f.toml", "limits.task_timeout", '"soon"', '"soon" is not a duration (seconds, or "500ms", "8s", "1h")'),
        Problem("f.toml", "limits.task", "1", 'unknown key (value 1); did you mean "tasks"?'),
    )


def test_a_secret_is_in_no_message(folder: Path) -> None:
    (folder / "f.toml").write_text(
        '[redis]\npassword = ["hunter2"]\npasword = "hunter2"\n[http]\nproxy = "x://me:hunter2@h:1"\n'
    )
    message = "\n".join(refused("f.toml", sets=["redis.username=5", "http.password=hunter2", "modules.reputation.api_key"]))
    assert message.count("\n") == 5
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("none.toml", "none.toml: there is no such file"),
        ("local.d", "local.d: is a directory; name the file in it"),
        ("f.toml/x.toml", "f.toml/x.toml: cannot be read: Not a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_words(folder: Path, path: str, sentence: str) -> None:
    (folder / "f.toml").write_text("")
    assert refused(path) == [sentence]


# --------------------------------------------------------------------------------------------------------- the shipped files


def uncommented(path: Path) -> str:
    """A shipped file with the keys and tables behind `#` switched on; prose has a space after the `#`."""
    return re.sub(r"^#(?=\S)", "", path.read_text(), flags=re.MULTILINE)


NAMED = tuple(
    f"{section}." for section in Config.model_fields if any(key.startswith(f"{section}.NAME") for key in schema_keys())
)


def keys_written(table: dict[str, object], prefix: str = "") -> set[str]:
    found = set()
    for key, value in table.items():
        named = prefix in NAMED or (prefix == "redis." and isinstance(value, dict))
        step = "NAME" if named else f'"{key}"' if " " in key else key
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]
        free = prefix in ("modules.", "settings.")
        found |= keys_written(value, f"{prefix}{step}.") if isinstance(value, dict) and not free else {f"{prefix}{step}"}
    return found


def test_every_key_is_explained_in_the_shipped_file_and_no_other() -> None:
    written = keys_written(tomllib.loads(uncommented(SHIPPED)))
    assert {key.replace("redis.NAME.", "redis.") for key in written} == set(schema_keys())


def test_what_the_shipped_file_shows_behind_a_hash_is_the_default(tmp_path: Path) -> None:
    """Also the whole of it is a configuration that loads; examples are for keys that have no default."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "conf").mkdir()
    for name in ("client.pem", "client.key"):
        (tmp_path / "conf" / name).write_text("")
    path = tmp_path / "conf" / "filterd.toml"
    path.write_text(uncommented(SHIPPED).replace("/etc/ssl/certs", "."))
    shown = {setting.key: setting.value for setting in settings(load_config(path))}
    defaults = {setting.key: setting.value for setting in settings(Config())}
    assert defaults.items() <= shown.items()
    listener = load_config(path).listen["scan"]
    assert {name: getattr(listener, name) for name in ("max_connections", "timeout", "keepalive_timeout")} == {
        name: type(listener).model_fields[name].default for name in ("max_connections", "timeout", "keepalive_timeout")
    }


def test_the_shipped_configuration_needs_no_redis_no_root_and_offers_only_loopback(tmp_path: Path) -> None:
    """Tried on a copy: the checkout may have a local.d of its owner's."""
    for name in ("conf", "rules"):
        (tmp_path / name).mkdir()
    for name in ("filterd.toml", "scores.toml"):
        shutil.copy(ROOT / "conf" / name, tmp_path / "conf")
    config = load_config(tmp_path / "conf" / "filterd.toml")
    assert sorted({str(where) for listener in config.listen.values() for where in listener.bind}) == [
        "127.0.0.1:11332",
        "127.0.0.1:11333",
        "127.0.0.1:11334",
    ]
    assert config.rules.paths == (tmp_path / "rules",)
    assert not config.redis.has_servers
    assert config.actions.thresholds == {"reject": 15.0, "add header": 6.0, "greylist": 4.0}


def test_the_default_configuration_is_that_of_the_checkout() -> None:
    assert default_config_path() == SHIPPED


def test_an_installed_package_finds_its_own_configuration_and_rules(tmp_path: Path) -> None:
    """The layout of the wheel: filterd/_data/conf and filterd/_data/rules."""
    package = tmp_path / "filterd"
    shutil.copytree(ROOT / "filterd", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", package / "_data" / "conf", ignore=shutil.ignore_patterns("*.toml"))
    for name in ("filterd.toml", "scores.toml"):
        shutil.copy(ROOT / "conf" / name, package / "_data" / "conf")
    shutil.copytree(ROOT / "rules", package / "_data" / "rules", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from filterd.daemon.config import default_config_path, load_config\n"
        "path = default_config_path()\n"
        "print(path, *load_config(path).rules.paths)"
    )
    # Without COVERAGE_*: the copy is not what is measured.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment = {**kept, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], cwd="/", env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(package / "_data" / "conf" / "filterd.toml"), str(package / "_data" / "rules")]


def test_reading_the_configuration_loads_no_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text("[limits]\ntasks = 5\n")
    program = (
        "import sys\nfrom filterd.daemon.config import load_config\n"
        "load_config(sys.argv[1])\nprint(*({'gevent', 'asyncio', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
