"""Variables in three scopes."""

from collections.abc import Iterator

import pytest

from filterd.task import Variables, process_vars


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    process_vars.clear()


def test_each_scope_is_its_own() -> None:
    session, transaction = {"x": "s"}, {"x": "t"}
    variables = Variables(session, transaction)
    process_vars["x"] = "p"
    assert [variables["sess.x"], variables["txn.x"], variables["x"], variables["proc.x"]] == ["s", "t", "t", "p"]
    assert sorted(variables) == ["proc.x", "sess.x", "txn.x"]
    assert len(variables) == 3


def test_a_name_may_have_dots_behind_its_scope() -> None:
    variables = Variables({}, {})
    variables["sess.a.b"] = 1
    assert dict(variables) == {"sess.a.b": 1}


def test_what_is_not_there_is_a_key_error_with_the_name_as_written() -> None:
    variables = Variables({}, {})
    with pytest.raises(KeyError, match=r"sess\.x"):
        variables["sess.x"]
    with pytest.raises(KeyError, match=r"sess\.x"):
        del variables["sess.x"]
    assert variables.get("x", 7) == 7


def test_deleting_and_replacing() -> None:
    variables = Variables({}, {})
    assert variables.replace("x", 1) is False
    variables["x"] = 1
    assert variables.replace("txn.x", 2) is True
    assert variables["x"] == 2
    del variables["x"]
    assert "x" not in variables


@pytest.mark.parametrize("use", ["get", "set", "del", "in", "replace"])
def test_a_scope_that_does_not_exist_is_refused(use: str) -> None:
    variables = Variables({}, {})
    with pytest.raises(ValueError, match=r"variable .foo\.x.: there is no scope .foo.; there are proc, sess, txn"):
        if use == "get":
            variables["foo.x"]
        elif use == "set":
            variables["foo.x"] = 1
        elif use == "del":
            del variables["foo.x"]
        elif use == "in":
            assert "foo.x" in variables
        else:
            variables.replace("foo.x", 1)
