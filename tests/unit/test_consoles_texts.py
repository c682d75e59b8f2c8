"""Words: both languages whole, the reader's language, how values are said, and that the pages use what there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from string import Formatter

import pytest

from cem.consoles import present
from cem.consoles.adapters import FEEDS
from cem.consoles.board import DOMAINS
from cem.consoles.ports import Bilingual, NameBook
from cem.consoles.texts import LANGUAGES, all_texts, choose_language, load_texts
from demarcation.taxonomy import Domain, load_taxonomy
from kqi.catalogue import Service
from workorders.lifecycle import EventKind, OrderState
from workorders.policy import CaseState
from workorders.scope import UNKNOWN, Owner

NOW = datetime(2026, 11, 22, 7, 41, 30, tzinfo=UTC)


def test_every_text_is_there_in_both_languages() -> None:
    for key, languages in all_texts().items():
        assert set(languages) == set(LANGUAGES), key
        assert all(text.strip() for text in languages.values()), key


def test_both_languages_take_the_same_values() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for key, languages in all_texts().items():
        assert fields(languages["zh"]) == fields(languages["en"]), key


def test_chinese_texts_are_chinese_and_english_ones_are_not() -> None:
    han = re.compile("[\u4e00-\u9fff]")
    for key, languages in all_texts().items():
        assert han.search(languages["zh"]), key
        assert not han.search(languages["en"]), key


def test_every_text_that_a_template_names_is_there_and_none_is_left_over() -> None:
    files = resources.files("cem.consoles")
    sources = [file.read_text("utf-8") for file in files.joinpath("templates").iterdir()]
    sources += [file.read_text("utf-8") for file in files.iterdir() if file.name.endswith(".py")]
    whole = "\n".join(sources)
    named = set(
        re.findall(r"""(?:\bt|texts|load_texts\([^)]*\)\))\(\s*f?["']([a-z_]+\.[a-z0-9_-]+)["']""", whole)
    )
    named |= set(re.findall(r"""texts\("([a-z_]+\.[a-z_]+)""", whole))
    made = set(re.findall(r"""["']([a-z_]+\.)["'] ?~""", whole))
    made |= set(re.findall(r"""f"([a-z_]+\.)\{""", whole))
    assert named <= set(all_texts()), named - set(all_texts())
    unused = {key for key in set(all_texts()) - named if not any(key.startswith(prefix) for prefix in made)}
    assert unused == set()


@pytest.mark.parametrize(
    ("prefix", "values"),
    [
        ("domain", list(Domain)),
        ("state", list(OrderState)),
        ("event", list(EventKind)),
        ("case_state", list(CaseState)),
        ("owner", sorted({cause.owner for cause in load_taxonomy().values()} | set(Owner))),
        ("service", [*Service, UNKNOWN]),
        ("feeds", FEEDS),
        ("dimension", sorted({name for cause in load_taxonomy().values() for name in cause.scope})),
    ],
)
def test_words_of_the_other_rooms_have_texts(prefix: str, values: list[str]) -> None:
    missing = [value for value in values if f"{prefix}.{value}" not in all_texts()]
    assert missing == []


def test_the_shares_show_every_domain() -> None:
    assert set(DOMAINS) == {domain.value for domain in Domain}


@pytest.mark.parametrize(
    ("remembered", "header", "expected"),
    [
        ("zh", "en", "zh"),
        ("en", "zh-CN", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "en-GB,en;q=0.9", "en"),
        (None, "fr;q=1.0, zh;q=0.3, en;q=0.5", "en"),
        (None, "fr,de", "en"),
        (None, "zh;q=0, en;q=0.1", "en"),
        (None, "", "en"),
        ("xx", "zh", "zh"),
        (None, ";;;q=,,zh", "zh"),
    ],
)
def test_whose_language(remembered: str | None, header: str, expected: str) -> None:
    assert choose_language(remembered, header) == expected


@pytest.mark.parametrize(
    ("seconds", "en", "zh"),
    [
        (-60, "now", "刚刚"),
        (4, "now", "刚刚"),
        (42, "42 s", "42 秒"),
        (60, "1 min", "1 分钟"),
        (3599, "59 min", "59 分钟"),
        (3600 + 12 * 60, "1 h 12 min", "1 小时 12 分"),
        (2 * 86400 + 5 * 3600, "2 d 5 h", "2 天 5 小时"),
    ],
)
def test_ages(seconds: int, en: str, zh: str) -> None:
    since = NOW - timedelta(seconds=seconds)
    assert present.age(load_texts("en"), since, NOW) == en
    assert present.age(load_texts("zh"), since, NOW) == zh


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.972, "97 %"), (0.9999, "99 %"), (1.0, "100 %"), (0.005, "0 %")]
)
def test_shares(share: float, text: str) -> None:
    assert present.percent(share) == text


def test_a_scope_is_said_wide_before_narrow_in_words_and_without_a_customers_hash() -> None:
    names = NameBook({("city", "yunze"): Bilingual("云泽", "Yunze")})
    said = present.scope(
        load_texts("zh"),
        names,
        {"cell": "yunze-01004", "city": "yunze", "subscriber": "s_12", "node": "", "service": "video"},
    )
    assert said == (("城市", "云泽"), ("小区", "yunze-01004"), ("业务", "视频"), ("单个客户", ""))
    unknown = present.scope(load_texts("en"), names, {"orbit": "low"})
    assert unknown == (("orbit", "low"),)
