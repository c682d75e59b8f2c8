"""The catalogue is whole and consistent, and decides as it says."""

from __future__ import annotations

import math

import pytest

from kqi.catalogue import BAD, BAD_IF, CATALOGUE, Aggregation, Direction, is_bad
from kqi.cube_reading import formula
from kqi.cuts import CUTS, DIMENSIONS, cut_for


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.id)
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
