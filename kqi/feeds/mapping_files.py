"""Mapping files: TOML that says what counters or columns mean.

A file names its `kind`: `counters` (see `counters.toml` beside this module) or `table` (see `docs/feeds.md`). All of
it is checked when it is read: a word that is not known is an error, not a silent nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kqi.feeds.errors import BadMapping

MAX_FILE_BYTES = 256 * 1024
"""Longest mapping file. [B] Chosen here: ten times the one of ours."""


class Section:
    """A table of a TOML file that notes which of its members were asked for."""

    def __init__(self, members: Mapping[str, Any], where: str) -> None:
        self._members = members
        self._where = where
        self._asked: set[str] = set()

    def text(self, name: str, default: str | None = None) -> str:
        """A text; the default where it is absent. Raises BadMapping: wrong type, or absent without a default."""
        value = self._take(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value:
            raise BadMapping(f"{self._where}: `{name}` must be a text.")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite number. Raises BadMapping."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            raise BadMapping(f"{self._where}: `{name}` must be a number.")
        return float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where it is absent. Raises BadMapping."""
        value = self._take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
            raise BadMapping(f"{self._where}: `{name}` must be a list of texts.")
        return tuple(value)

    def sections(self, name: str) -> Sequence[Section]:
        """An array of tables. Raises BadMapping."""
        value = self._take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise BadMapping(f"{self._where}: `{name}` must be an array of tables.")
        return [Section(one, f"{name} {index}") for index, one in enumerate(value, 1)]

    def table(self, name: str) -> Mapping[str, Any] | None:
        """A table as it is; None where it is absent. Raises BadMapping."""
        value = self._take(name)
        if value is not None and not isinstance(value, dict):
            raise BadMapping(f"{self._where}: `{name}` must be a table.")
        return value

    def either(self, name: str) -> str | Mapping[str, Any] | None:
        """A text or a table; None where it is absent. Raises BadMapping."""
        value = self._take(name)
        if value is not None and not isinstance(value, (str, dict)):
            raise BadMapping(f"{self._where}: `{name}` must be a text or a table.")
        return value

    def done(self) -> None:
        """Nobody asks for more. Raises BadMapping: the table holds a word that is not known."""
        unknown = sorted(set(self._members) - self._asked)
        if unknown:
            raise BadMapping(f"{self._where}: `{unknown[0]}` is not known here.")

    def _take(self, name: str) -> Any:
        self._asked.add(name)
        return self._members.get(name)


def read_toml(data: bytes, where: str) -> Section:
    """The file's content. Raises BadMapping: too long, not UTF-8, not TOML, or nested too deeply."""
    if len(data) > MAX_FILE_BYTES:
        raise BadMapping(f"{where}: longer than {MAX_FILE_BYTES} bytes.")
    try:
        return Section(tomllib.loads(data.decode()), where)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadMapping(f"{where}: not TOML ({type(error).__name__}).") from None


def read_mapping_file(path: Path) -> bytes:
    """Bytes of a mapping file. Raises BadMapping: it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadMapping(f"{path.name}: {error.strerror or 'cannot be read'}.") from None
