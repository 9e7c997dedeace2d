"""What the keys of the protocols have in common: each says what is wrong with a `[listen.NAME]` section, and all of it is told.

Promises: a section with several mistakes names every one of them, whichever protocol's keys they are about.
"""

from collections.abc import Iterator

from pydantic import BaseModel, model_validator

__all__ = ["DoorKeys", "Faults"]


class Faults(ValueError):
    """Several mistakes of one section: `texts` has a sentence for each."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__("; ".join(texts))
        self.texts = texts


class DoorKeys(BaseModel):
    """Some keys of a front door."""

    def faults(self) -> Iterator[str]:
        """What is wrong with the values together, a sentence each."""
        return iter(())

    @model_validator(mode="after")
    def _is_without_faults(self) -> "DoorKeys":
        texts = list(self.faults())
        if texts:
            raise Faults(texts)
        return self
