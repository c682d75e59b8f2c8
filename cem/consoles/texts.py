"""The pages' words in both languages, and which language a reader gets.

All words stand in `texts.toml`; a page that asks for one that is not there is a defect and says so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

LANGUAGES = ("zh", "en")
LANGUAGE_TAGS = {"zh": "zh-CN", "en": "en"}
DEFAULT_LANGUAGE = "en"
_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)")


class Texts:
    """The words of one language. `texts("orders.title")` gives one; named values fill its braces."""

    def __init__(self, language: str, words: Mapping[str, str]) -> None:
        self.language = language
        self._words = words

    def __call__(self, key: str, **values: object) -> str:
        """Give the text of a key. Raises KeyError where it is not in the file."""
        word = self._words[key]
        return word.format(**values) if values else word

    def get(self, key: str, default: str) -> str:
        """Give the text of a key, or `default`: for words that other rooms may add to."""
        return self._words.get(key, default)


@cache
def load_texts(language: str) -> Texts:
    """Give the words of `zh` or `en`."""
    return Texts(language, {key: value[language] for key, value in all_texts().items()})


@cache
def all_texts() -> Mapping[str, Mapping[str, str]]:
    """Give every text by key, each with its languages."""
    document = tomllib.loads(resources.files("cem.consoles").joinpath("texts.toml").read_text("utf-8"))
    return dict(_flat(document, ""))


def _flat(table: Mapping[str, Any], prefix: str) -> list[tuple[str, Mapping[str, str]]]:
    found: list[tuple[str, Mapping[str, str]]] = []
    for key, value in table.items():
        if all(isinstance(inner, str) for inner in value.values()):
            found.append((prefix + key, value))
        else:
            found += _flat(value, f"{prefix}{key}.")
    return found


def choose_language(remembered: str | None, accept_language: str) -> str:
    """Give the language of a reader: what they chose before, else what their browser prefers (RFC 9110 §12.5.4)."""
    if remembered in LANGUAGES:
        return str(remembered)
    wishes: list[tuple[float, int, str]] = []
    for position, part in enumerate(accept_language.split(",")[:20]):
        tag, _, parameters = part.strip().partition(";")
        quality = _QUALITY.search(parameters)
        wishes.append((-(float(quality[1]) if quality else 1.0), position, tag.strip().lower().split("-")[0]))
    for weight, _, language in sorted(wishes):
        if weight < 0 and language in LANGUAGES:
            return language
    return DEFAULT_LANGUAGE
