"""What every section of the configuration is: a table with known keys, each of a known type, that nobody changes."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """A table with the keys that are its fields, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
