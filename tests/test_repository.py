"""The repository keeps its own rules: mirrored tests, short files, a lock that fits, no trace of where it was written."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LONGEST = 400
MIRRORED = ("mail", "proto")
# Places a file would only name because its author sat there: home and work directories, package registries, local indexes.
TRACES = re.compile(
    r"(?<![\w.$}~-])/(?:home|root|Users|work)/|\bfile:///|(?:py(?:pi|thonhosted)\.org|registry\.(?:npmjs|yarnpkg))|\.\./shared\b"
)
# Words that name a heap and not a thing.
HEAPS = {"common", "handler", "handlers", "helper", "helpers", "manager", "misc", "processor", "util", "utils"}


def sources(*folders: str) -> list[Path]:
    return [file.relative_to(ROOT) for folder in folders for file in sorted(ROOT.joinpath(folder).rglob("*.py"))]


def locked(lock: str) -> dict[str, str]:
    lines = ROOT.joinpath("requirements", lock).read_text().splitlines()
    pinned = [line.split(";")[0].rstrip(" \\") for line in lines if re.match(r"\w", line)]
    return dict(re.sub(r"\[.*?\]", "", pin).split("==") for pin in pinned)


def project() -> dict[str, list[str]]:
    table = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]
    return {"run.lock": table["dependencies"], "dev.lock": table["dependencies"] + table["optional-dependencies"]["dev"]}


def test_every_file_of_mail_and_proto_has_the_test_file_of_its_name() -> None:
    without = [
        str(file)
        for package in MIRRORED
        for file in sources(f"filterd/{package}")
        if file.name != "__init__.py" and not ROOT.joinpath("tests", package, f"test_{file.name}").exists()
    ]
    assert without == []


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {str(file): len(ROOT.joinpath(file).read_text().splitlines()) for file in sources("filterd", "rules")}
    assert lengths
    assert {file: lines for file, lines in lengths.items() if lines > LONGEST} == {}


def test_no_file_is_named_for_a_heap() -> None:
    assert [str(file) for file in sources("filterd", "rules", "tests") if HEAPS & set(re.split(r"[/_.]", str(file)))] == []


def test_no_file_names_the_machine_it_was_written_on() -> None:
    if not ROOT.joinpath(".git").exists():
        pytest.skip("not a git checkout: nothing tells which files are the repository's")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        if file.is_file()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if TRACES.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("lock", ["run.lock", "dev.lock"])
def test_the_lock_fits_pyproject(lock: str) -> None:
    """After a change to the dependencies: make lock."""
    pins = locked(lock)
    wanted = [Requirement(line) for line in project()[lock]]
    unfit = [str(need) for need in wanted if not need.specifier.contains(pins.get(canonicalize_name(need.name), "0"))]
    assert unfit == []


def test_what_is_needed_with_extras_is_pinned_with_them() -> None:
    """Pip takes `coverage[toml]` for another thing than a pinned `coverage`, and stops when the index has a newer version."""
    pins = re.findall(r"^([\w.-]+(?:\[[\w,-]+\])?)==", ROOT.joinpath("requirements", "dev.lock").read_text(), re.MULTILINE)
    needs = [Requirement(line) for name in locked("dev.lock") if _is_here(name) for line in requires(name) or ()]
    extras = {f"{canonicalize_name(one.name)}[{','.join(sorted(one.extras))}]" for one in needs if one.extras and _applies(one)}
    assert extras <= set(pins)
    assert "coverage[toml]" in extras


def _is_here(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:  # pinned for another platform
        return False


def _applies(need: Requirement) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": ""})


def test_running_and_developing_use_the_same_versions() -> None:
    assert locked("run.lock").items() <= locked("dev.lock").items()


def test_every_locked_file_has_hashes_and_no_address() -> None:
    for lock in ("run.lock", "dev.lock"):
        text = ROOT.joinpath("requirements", lock).read_text()
        assert "://" not in text
        assert " @ " not in text
        assert len(re.findall(r"^\w.*\\$\n +--hash=sha256:[0-9a-f]{64}\b", text, re.MULTILINE)) == len(locked(lock))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (built,) = folder.iterdir()
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_shipped_rules_and_configuration(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    expected = {f"filterd/_data/{file}" for file in sources("rules")} | {str(file) for file in sources("filterd")}
    assert {"filterd/py.typed", "filterd/_data/conf/filterd.toml", *expected} <= names


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    """No tests, no caches, and nobody's own settings from conf/local.d."""
    own = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert [name for name in own if not name.startswith("filterd/")] == []
    assert [name for name in own if re.search(r"/(?:__pycache__|tests|test_[^/]*)(?:/|$)", name)] == []
    assert [name for name in own if name.startswith("filterd/_data/conf/local.d/") and name.endswith(".toml")] == []


def test_the_version_has_its_chapter_in_the_changelog() -> None:
    assert f"## [{version('filterd')}]" in ROOT.joinpath("CHANGELOG.md").read_text()
