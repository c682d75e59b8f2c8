"""The catalogue is whole and consistent, and decides as it says."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from cem.platform.errors import InvalidInput
from kqi.catalogue import (
    BAD,
    BAD_IF,
    CATALOGUE,
    NAMES,
    PARTS,
    UNITS,
    Aggregation,
    Direction,
    Layer,
    Service,
    is_bad,
)
from kqi.catalogue_listing import render
from kqi.cube_reading import formula
from kqi.cuts import CUTS, DIMENSIONS, cut_for
from kqi.lwm2m import RESOURCES

_ENTRIES = pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.id)
_FUNCTIONS = {"sum", "mean", "min", "max", "count", "score"}


@_ENTRIES
def test_every_entry_is_complete(entry) -> None:  # type: ignore[no-untyped-def]
    assert entry.name_zh
    assert entry.name_en
    assert entry.definition.endswith(".")
    assert entry.source
    assert entry.vantages
    assert entry.services
    if entry.good is not None and entry.poor is not None:
        better = entry.good < entry.poor if entry.direction is Direction.LOWER else entry.good > entry.poor
        assert better
        assert entry.direction is not Direction.NEUTRAL
    assert (entry.aggregation is Aggregation.RATIO) == bool(entry.numerators)
    for part in (*entry.numerators, *entry.denominators):
        assert CATALOGUE[part].aggregation is Aggregation.SUM


def test_what_decides_has_a_poor_end() -> None:
    for rule in BAD_IF:
        assert all(CATALOGUE[name].poor is not None for name in rule.indicators)
        assert BAD not in rule.indicators


@pytest.mark.parametrize(
    ("service", "vantage", "values", "expected"),
    [
        ("video", "device", {"failed": 1}, True),
        ("video", "device", {"failed": 0, "stall_ratio": 0.05}, False),  # the end itself is not beyond it
        ("video", "device", {"stall_ratio": 0.0501}, True),
        ("video", "device", {"start_delay_ms": 5_001, "failed": 0}, True),
        ("video", "device", {"rsrp_dbm": -130}, None),  # a cause, not an experience
        ("video", "device", {"stall_ratio": math.nan}, None),
        ("video", "device", {}, None),
        ("web", "device", {"first_byte_ms": 1_501}, True),
        ("video", "cloud", {"http_5xx_ratio": 0.2}, True),
        ("anything", "pipe", {"tcp_setup_user_ms": 20}, False),
        ("iot", "pipe", {"attach_success_ratio": 0.5}, True),
        ("games", "device", {"failed": 1}, None),  # nothing is defined for it
    ],
)
def test_bad_or_not_or_unknown(
    service: str, vantage: str, values: dict[str, float], expected: bool | None
) -> None:
    assert is_bad(service, vantage, values) is expected


def test_a_ratio_is_one_of_sums_and_nothing_over_nothing_is_nothing() -> None:
    ratio = CATALOGUE["stall_ratio"]
    assert formula(ratio, {"stall_ms": 10_000, "play_ms": 90_000}, 5) == pytest.approx(0.1)
    assert formula(ratio, {"stall_ms": 0, "play_ms": 0}, 5) is None
    assert formula(ratio, {}, 5) is None
    frequency = CATALOGUE["stall_frequency_per_min"]
    assert formula(frequency, {"stall_count": 3, "play_ms": 120_000}, 5) == pytest.approx(1.5)
    assert formula(CATALOGUE["rtt_ms"], {"rtt_ms": 90}, 3) == pytest.approx(30)


def test_a_question_goes_to_the_smallest_cut_that_keeps_its_dimensions() -> None:
    names = {
        (): "all",
        ("service", "vantage", "device_type"): "all",
        ("city",): "city",
        ("province",): "city",
        ("city", "source"): "source",
        ("source", "node"): "node",
        ("source",): "node",
        ("cell",): "cell",
        ("os",): "app",
    }
    for asked, name in names.items():
        cut = cut_for(asked)
        assert cut is not None
        assert cut.name == name
    assert cut_for(("cell", "node")) is None
    assert cut_for(("rat",)) is None
    assert all(set(cut.keeps) <= set(DIMENSIONS) for cut in CUTS)


def test_ids_are_unique_over_all_files() -> None:
    ids = [
        entry["id"]
        for part in PARTS
        for entry in tomllib.loads((files("kqi.data") / f"{part}.toml").read_text("utf-8"))["indicator"]
    ]
    assert len(ids) == len(set(ids)) == len(CATALOGUE)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) for name in ids)


def test_things_have_55_indicators_in_three_layers() -> None:
    layers = Counter(entry.layer for entry in CATALOGUE.values() if Service.IOT in entry.services)
    assert layers[Layer.CORE] + layers[Layer.RADIO] + layers[Layer.PLATFORM] == 55
    assert min(layers[Layer.CORE], layers[Layer.RADIO], layers[Layer.PLATFORM]) >= 18
    assert all(Service.IOT in entry.services for entry in CATALOGUE.values() if entry.layer)


@_ENTRIES
def test_names_are_in_both_languages(entry) -> None:  # type: ignore[no-untyped-def]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in entry.name_zh) or entry.name_zh == entry.name_en
    assert entry.name_en.isascii()


def _resolves(name: str) -> bool:
    if name.startswith("/"):
        _, object_id, _, resource_id = name.split("/")
        return any((r.object_id, r.resource_id) == (int(object_id), int(resource_id)) for r in RESOURCES)
    event = name.removesuffix(".at")
    return (
        name in CATALOGUE
        or name in NAMES["counters"]
        or name in NAMES["figures"]
        or (event in NAMES["events"])
    )


@_ENTRIES
def test_a_formula_is_made_of_known_names(entry) -> None:  # type: ignore[no-untyped-def]
    names = re.findall(r"`([^`]+)`", entry.formula)
    assert names
    assert entry.id not in names
    assert [name for name in names if not _resolves(name)] == []
    rest = re.sub(r"`[^`]+`", "1", entry.formula)
    assert set(re.findall(r"[a-z_]+", rest)) <= _FUNCTIONS
    compile(rest, entry.id, "eval")  # brackets close, operators have both sides


def test_every_name_that_is_explained_is_used() -> None:
    used = {
        name.removesuffix(".at")
        for entry in CATALOGUE.values()
        for name in re.findall(r"`([^`]+)`", entry.formula)
    }
    assert {name for kind in NAMES.values() for name in kind} - used == set()


@_ENTRIES
def test_unit_thresholds_and_merging_fit(entry) -> None:  # type: ignore[no-untyped-def]
    assert entry.unit in UNITS
    endings = {"_ms": "ms", "_dbm": "dBm", "_db": "dB", "_pct": "%", "_kbps": "kbit/s", "_ratio": "1",
               "_share": "1", "_per_min": "1/min", "_mv": "mV", "_kb": "kB"}  # fmt: skip
    for ending, unit in endings.items():
        if entry.id.endswith(ending):
            assert entry.unit == unit
    if entry.aggregation is Aggregation.SHARE:
        assert entry.unit == "1"
        assert all(0 <= end <= 1 for end in (entry.good, entry.poor) if end is not None)
    if entry.aggregation is Aggregation.SUM:
        assert entry.unit in {
            "1",
            "ms",
            "kB",
        }  # nothing that does not add up: no dBm, no rates, no percentages
    if entry.aggregation is Aggregation.RATIO:
        assert entry.denominators
        for part in (*entry.numerators, *entry.denominators):
            assert f"`{part}`" in entry.formula
    if entry.direction is Direction.NEUTRAL:
        assert entry.good is entry.poor is None
    assert (entry.good is None) == (entry.poor is None)


def test_what_measurement_files_are_turned_into_is_in_the_catalogue() -> None:
    rules = tomllib.loads((files("kqi.feeds") / "counters.toml").read_text("utf-8"))["rule"]
    assert {rule["indicator"] for rule in rules} <= set(CATALOGUE)
    counters = {
        name for rule in rules for key in ("sum", "numerator", "denominator") for name in rule.get(key, ())
    }
    assert counters <= set(NAMES["counters"])


def test_resources_and_their_units_are_those_of_the_registry() -> None:
    """Units by hand from the registry's files: 3/7 mV, 3/9 %, 4/2 dBm, 7/2 and 7/3 kB."""
    assert {r.indicator for r in RESOURCES} <= set(CATALOGUE)
    units = {(r.object_id, r.resource_id): CATALOGUE[r.indicator].unit for r in RESOURCES}
    assert units[3, 7] == "mV"
    assert units[3, 9] == "%"
    assert units[4, 2] == "dBm"
    assert units[7, 2] == units[7, 3] == "kB"


def test_the_page_of_indicators_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "indicators.md"
    assert page.read_text("utf-8") == render("markdown"), (
        "run: cem kqi catalogue --format markdown > docs/indicators.md"
    )


def test_listings_hold_what_was_asked_for() -> None:
    lines = [json.loads(line) for line in render("ndjson", "iot").splitlines()]
    assert {line["id"] for line in lines} == {i.id for i in CATALOGUE.values() if Service.IOT in i.services}
    assert [line["layer"] for line in lines[:55]] == ["core"] * 19 + ["radio"] * 18 + ["platform"] * 18
    assert set(lines[0]) >= {"id", "name_zh", "name_en", "unit", "direction", "formula", "good", "poor",
                             "aggregation", "vantages", "services", "source"}  # fmt: skip
    for form in ("table", "markdown"):
        assert all(entry.id in render(form) for entry in CATALOGUE.values())
    table = render("table", "video")
    assert "stall_ratio" in table
    assert "coap_4xx_ratio" not in table
    assert len(render("ndjson").splitlines()) == len(CATALOGUE)


@pytest.mark.parametrize(("form", "service"), [("xml", None), ("table", "games"), ("", "iot")])
def test_other_formats_and_services_are_refused(form: str, service: str | None) -> None:
    with pytest.raises(InvalidInput):
        render(form, service)
