"""Exit codes: one meaning each, the stronger action the larger code."""

import pytest

from filterd.cli import exits


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("no action", 0),
        ("add header", 10),
        ("rewrite subject", 10),
        ("greylist", 11),
        ("soft reject", 11),
        ("reject", 12),
        ("discard", 12),
        ("quarantine", 12),
        ("an action of our own", 0),
    ],
)
def test_an_action_has_its_code(action: str, code: int) -> None:
    assert exits.of_action(action) == code


def test_no_code_means_two_things() -> None:
    codes = [exits.CLEAN, exits.UNSCANNED, exits.USAGE, exits.MARK, exits.LATER, exits.REJECT, exits.INTERRUPTED]
    assert codes == [0, 1, 2, 10, 11, 12, 130]


def test_a_refusal_prints_every_problem_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        exits.refuse(["one", "two"])
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "one\ntwo\n")
