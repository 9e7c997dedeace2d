"""A listing is bounded, and says what was remarkable."""

from filterd.mail.archive import Archive, Entry, Listing

MIB = 1024 * 1024


def test_a_listing_is_in_order() -> None:
    listing = Listing("zip", 10)
    listing.add("a", 1)
    listing.add("b")
    assert listing.done() == Archive("zip", (Entry("a", 1), Entry("b")))


def test_the_names_are_those_of_archives_within_as_well() -> None:
    inner = Archive("tar", (Entry("x"), Entry("y")))
    assert Archive("zip", (Entry("a"), Entry("b", archive=inner), Entry("c"))).names == ["a", "b", "x", "y", "c"]


def test_entries_are_counted() -> None:
    listing = Listing("zip", 10)
    for number in range(2000):
        listing.add(str(number))
    assert listing.flags == set()
    listing.add("one more")
    assert (len(listing.done().entries), listing.flags) == (2000, {"entry_cap"})


def test_names_are_cut_and_their_length_is_added_up() -> None:
    listing = Listing("zip", 10)
    for _ in range(300):
        listing.add("x" * 2000)
    assert {len(name) for name in listing.done().names} == {1024}
    assert (len(listing.entries), listing.flags) == (256, {"entry_cap"})


def test_one_encrypted_entry_makes_an_encrypted_archive() -> None:
    listing = Listing("zip", 10)
    assert not listing.done().is_encrypted
    listing.add("a")
    listing.add("b", is_encrypted=True)
    assert listing.done().is_encrypted
    assert listing.flags == {"encrypted"}
    assert Archive("rar", flags=frozenset({"encrypted_names"})).is_encrypted


def test_a_bomb_is_large_and_out_of_proportion() -> None:
    for packed, unpacked, is_bomb in ((1, 100 * MIB, False), (1, 101 * MIB, True), (2 * MIB, 101 * MIB, False)):
        listing = Listing("zip", packed)
        listing.add("a", unpacked)
        assert (listing.done().flags == {"bomb"}) is is_bomb
