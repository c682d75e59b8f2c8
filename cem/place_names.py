"""What people call places: from the operator's file, else from the demo province where it is on."""

from __future__ import annotations

import tomllib
from pathlib import Path

from cem.consoles.ports import Bilingual, NameBook
from cem.demo.names import spoken_names
from cem.demo.world import build_world
from cem.platform.errors import ConfigurationError
from cem.platform.settings import Settings


def name_book(settings: Settings) -> NameBook:
    """Names by dimension and value.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or an entry is not `{zh = "…", en = "…"}`.
    """
    names: dict[tuple[str, str], Bilingual] = {}
    if settings.demo:
        for key, (zh, en) in spoken_names(build_world(settings.demo_seed)).items():
            names[key] = Bilingual(zh, en)
    if settings.names_file is not None:
        names.update(_read(settings.names_file))
    return NameBook(names)


def _read(file: Path) -> dict[tuple[str, str], Bilingual]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"names_file: {file}: {error}") from error
    names: dict[tuple[str, str], Bilingual] = {}
    for dimension, values in document.items():
        for value, texts in values.items() if isinstance(values, dict) else ():
            match texts:
                case {"zh": str(zh), "en": str(en)}:
                    names[dimension, value] = Bilingual(zh, en)
                case _:
                    raise ConfigurationError(
                        f"names_file: {file}: {dimension}.{value} needs zh and en, both texts"
                    )
    return names
