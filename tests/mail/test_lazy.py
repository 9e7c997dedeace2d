"""An attribute that is computed once."""

from filterd.mail.lazy import lazy


class Thing:
    def __init__(self) -> None:
        self.computed = 0

    @lazy
    def value(self) -> list[int]:
        """The documented value."""
        self.computed += 1
        return [1]


def test_it_is_computed_when_it_is_first_read_and_then_kept() -> None:
    thing = Thing()
    assert thing.computed == 0
    first = thing.value
    assert (first, thing.value is first, thing.computed) == ([1], True, 1)


def test_each_object_has_its_own() -> None:
    assert Thing().value is not Thing().value


def test_it_can_be_set_beforehand_and_forgotten() -> None:
    thing = Thing()
    thing.__dict__["value"] = [2]
    assert (thing.value, thing.computed) == ([2], 0)
    del thing.__dict__["value"]
    assert thing.value == [1]


def test_the_class_shows_the_attribute_with_its_documentation() -> None:
    assert isinstance(Thing.value, lazy)
    assert Thing.value.__doc__ == "The documented value."
