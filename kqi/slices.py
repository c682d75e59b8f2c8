"""Slices of the cube that are watched: which dimensions each level keeps, and what its parent is. Data and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SEPARATOR = "\x1f"
"""Between the parts of a slice's key: a control character that no dimension holds."""


@dataclass(frozen=True, slots=True)
class Level:
    """Slices that keep the same dimensions, beside service and vantage point; `parent` names a level above."""

    name: str
    dimensions: tuple[str, ...]
    parent: str | None = None


LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        level.name: level
        for level in (
            Level("all", ()),
            Level("province", ("province",), "all"),
            Level("city", ("province", "city"), "province"),
            Level("cell", ("province", "city", "cell"), "city"),
            Level("city_source", ("province", "city", "source"), "city"),
            Level("source", ("source",), "all"),
            Level("node", ("source", "node"), "source"),
            Level("gateway", ("gateway",), "all"),
            Level("area", ("area",), "all"),
            Level("model", ("model",), "all"),
            Level("app", ("app_version", "os"), "all"),
        )
    }
)
"""Parents before children."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: a level, and a value for each dimension it keeps."""

    level: str
    service: str
    vantage: str
    dimensions: tuple[str, ...]

    @property
    def values(self) -> dict[str, str]:
        """Dimension → value, service and vantage point left out."""
        return dict(zip(LEVELS[self.level].dimensions, self.dimensions, strict=True))


def slice_key(service: str, vantage: str, *values: str) -> str:
    """A slice's key within its level."""
    return SEPARATOR.join((service, vantage, *values))


def slice_of(level: Level, key: str) -> Slice:
    """The slice of a key."""
    service, vantage, *values = key.split(SEPARATOR)
    return Slice(level.name, service, vantage, tuple(values))


def parent_key(level: Level, key: str) -> str:
    """The key of a slice's parent, in the level above.

    Raises
    ------
    ValueError
        The level is the top.
    """
    if level.parent is None:
        raise ValueError("the top has no parent")
    found = slice_of(level, key)
    values = found.values
    return slice_key(
        found.service, found.vantage, *(values[name] for name in LEVELS[level.parent].dimensions)
    )
