"""Times, durations, names of files and distinguished names of measurement files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kqi.feeds.pm_counters import rdns
from kqi.feeds.pm_times import parse_duration, parse_file_name, parse_time

EAST_8 = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-31T10:04:00+03:00", datetime(2026, 7, 31, 7, 4, tzinfo=UTC)),
        ("202607311004+0300", datetime(2026, 7, 31, 7, 4, tzinfo=UTC)),
        ("20260731100430-0330", datetime(2026, 7, 31, 13, 34, 30, tzinfo=UTC)),
        ("20260731T1004Z", datetime(2026, 7, 31, 10, 4, tzinfo=UTC)),
        ("2026-07-31 10:04:00.250Z", datetime(2026, 7, 31, 10, 4, 0, 250_000, tzinfo=UTC)),
        ("2026-07-31T24:00:00Z", datetime(2026, 8, 1, tzinfo=UTC)),
        (" 2026-07-31T10:04+0300 ", datetime(2026, 7, 31, 7, 4, tzinfo=UTC)),
        ("2026-07-31T10:04:00", None),
        ("2026-02-30T10:04:00Z", None),
        ("2026-07-31T24:01:00Z", None),
        ("2026-07-31T10:04:00+99:00", None),
        ("9999-12-31T23:59:59-23:00", None),
        ("٢٠٢٦-07-31T10:04:00Z", None),
        ("", None),
    ],
)
def test_times(text: str, expected: datetime | None) -> None:
    assert parse_time(text) == expected


def test_a_zone_is_for_times_without_an_offset() -> None:
    assert parse_time("2026-07-31T10:00:00", EAST_8) == datetime(2026, 7, 31, 2, tzinfo=UTC)
    assert parse_time("2026-07-31T10:00:00Z", EAST_8) == datetime(2026, 7, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT900S", 900), ("PT15M", 900), ("PT0.5S", 0.5), ("PT1H30M", 5400), ("P1D", 86400), ("P1DT1S", 86401)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "PT0S", "P1M", "P1Y", "900", "-PT900S", "PT9" + "9" * 30 + "S"]
)
def test_what_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("name", "kind", "begin", "end"),
    [
        ("A20261002.0000-1000-0015-1000_5G.xml", "A", (2, 10, 0), (2, 10, 15)),
        ("C20261002.2345+0800-0000+0800.xml.gz", "C", (2, 15, 45), (2, 16, 0)),
        ("B20261002.2300+0000-20261003.0100+0000_-_2.xml", "B", (2, 23, 0), (3, 1, 0)),
        ("PM202610021301+020024C202610021207+0200-1215+0200_45678.xml", "C", (2, 10, 7), (2, 10, 15)),
    ],
)
def test_names(name: str, kind: str, begin: tuple[int, int, int], end: tuple[int, int, int]) -> None:
    found = parse_file_name(name)
    assert found is not None
    assert found.kind == kind
    for instant, (day, hour, minute) in ((found.begin, begin), (found.end, end)):
        assert instant == datetime(2026, 10, day, hour, minute, tzinfo=UTC)


def test_names_without_an_offset_or_without_sense() -> None:
    found = parse_file_name("C20261002.0000-0015.xml")
    assert found is not None
    assert (found.kind, found.begin, found.zone) == ("C", None, None)
    with_zone = parse_file_name("C20261002.0800-0815.xml", EAST_8)
    assert with_zone is not None
    assert with_zone.begin == datetime(2026, 10, 2, tzinfo=UTC)
    assert parse_file_name("report.xml") is None
    assert parse_file_name("C20269902.0000+0000-0015+0000.xml") is not None  # the name fits, the date is none


def test_distinguished_names() -> None:
    assert rdns("SubNetwork=1, ManagedElement=a\\,b ,NRCellDU=x=y") == [
        ("SubNetwork", "1"),
        ("ManagedElement", "a,b"),
        ("NRCellDU", "x=y"),
    ]
    assert rdns("objLdn") == []
