"""Samples on the wire: what is taken, what is refused, and by which name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cem.platform.errors import InvalidInput
from kqi.lwm2m import indicators
from kqi.samples import Feed, Reject, TimeBounds, read_samples

NOW = datetime(2026, 3, 1, 12, 7, 30, tzinfo=UTC)
BOUNDS = TimeBounds(NOW, timedelta(hours=48), timedelta(minutes=5))
GOOD: dict[str, Any] = {
    "id": "1",
    "observed_at": "2026-03-01T20:01:02.5+08:00",
    "subscriber": "+8613800000001",
    "service": "video",
    "dimensions": {"city": "杭州", "shelf": "7"},
    "values": {"rtt_ms": 31, "invented_by_the_feed": 2.5},
    "labels": {"probe": "p-1"},
}


def hashed(number: str) -> str:
    if not number.startswith("+"):
        raise InvalidInput("not a telephone number")
    return f"s_{len(number)}"


def read(*items: Any, feed: Feed = Feed.PIPE) -> tuple[list[dict[str, Any]], list[Reject]]:
    raw = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    entries, rejects = read_samples(raw, feed, origin="key_1", hash_number=hashed, bounds=BOUNDS)
    return [msgspec.json.decode(entry.rows[0][1]) for entry in entries], rejects


def test_a_sample_becomes_a_row_of_its_window_without_the_number() -> None:
    (row,), rejects = read(GOOD)
    assert not rejects
    assert row["window"] == "2026-03-01T12:00:00Z"
    assert row["observed_at"] == "2026-03-01T12:01:02.500000Z"
    assert (row["subscriber_id"], row["vantage"], row["service"], row["origin"]) == (
        "s_14",
        "pipe",
        "video",
        "key_1",
    )
    assert row["values"] == {"rtt_ms": 31.0, "invented_by_the_feed": 2.5}
    assert (row["city"], row["labels"]) == ("杭州", {"shelf": "7", "probe": "p-1"})
    assert "13800000001" not in json.dumps(row)


def test_identity_is_the_feeds_own() -> None:
    def key(feed: Feed, origin: str, sample_id: str) -> str:
        raw = json.dumps(GOOD | {"id": sample_id, "service": ""}).encode()
        entries, _ = read_samples([raw], feed, origin=origin, hash_number=hashed, bounds=BOUNDS)
        return entries[0].key

    keys = {
        key(Feed.PIPE, "a", "1"),
        key(Feed.PIPE, "b", "1"),
        key(Feed.CLOUD, "a", "1"),
        key(Feed.PIPE, "a", "2"),
    }
    assert len(keys) == 4
    assert key(Feed.PIPE, "a", "1") in keys


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"id": None}, "/id", "missing"),
        ({"id": 5}, "/id", "wrong_type"),
        ({"id": "x" * 129}, "/id", "wrong_length"),
        ({"observed_at": "yesterday"}, "/observed_at", "bad_time"),
        ({"observed_at": "2026-03-01T12:00:00"}, "/observed_at", "bad_time"),
        ({"observed_at": "2026-02-27T12:00:00Z"}, "/observed_at", "too_late"),
        ({"observed_at": "0001-01-01T00:00:00+23:59"}, "/observed_at", "too_late"),
        ({"observed_at": "2026-03-01T12:12:31Z"}, "/observed_at", "in_future"),
        ({"observed_at": "9999-12-31T23:59:59-23:59"}, "/observed_at", "in_future"),
        ({"subscriber": "twelve"}, "/subscriber", "bad_number"),
        ({"subscriber": None, "dimensions": None}, "", "nobody"),
        ({"service": "Video!"}, "/service", "bad_pattern"),
        ({"vantage": "cloud"}, "/vantage", "unknown_word"),
        ({"dimensions": []}, "/dimensions", "wrong_type"),
        ({"dimensions": {"city": 5}}, "/dimensions/city", "wrong_type"),
        ({"dimensions": {"a b": "x"}}, "/dimensions/a b", "bad_pattern"),
        ({"values": {}}, "/values", "missing"),
        ({"values": {"rtt_ms": "31"}}, "/values/rtt_ms", "wrong_type"),
        ({"values": {"rtt_ms": True}}, "/values/rtt_ms", "wrong_type"),
        ({"values": {"rtt/ms": 1}}, "/values/rtt~1ms", "bad_pattern"),
        ({"values": {"msisdn": 13800000001}}, "/values/msisdn", "personal_field"),
        ({"values": {f"v{n}": 1 for n in range(129)}}, "/values", "wrong_length"),
        ({"labels": {"a": 1}}, "/labels/a", "wrong_type"),
        ({"lwm2m": {"/4/0/2": -90}}, "/lwm2m", "unknown_member"),
        ({"valeus": {}}, "/valeus", "unknown_member"),
    ],
)
def test_a_bad_item_is_named_and_costs_no_other(change: dict[str, Any], pointer: str, code: str) -> None:
    rows, rejects = read(GOOD | {"id": "good"}, GOOD | change)
    assert len(rows) == 1
    assert [(reject.pointer, reject.code) for reject in rejects] == [("/1" + pointer, code)]
    assert "138" not in rejects[0].detail


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "bad_json"),
        (b"[]", "not_an_object"),
        (b"\xff", "bad_json"),
        (b'{"a":' * 100_000, "too_deep"),
        (json.dumps(GOOD).replace("31", "1e999").encode(), "bad_json"),
        (json.dumps(GOOD).replace("31", "1" + "0" * 400).encode(), "out_of_range"),
    ],
)
def test_what_is_no_sample_at_all(raw: bytes, code: str) -> None:
    rows, rejects = read(raw)
    assert (rows, [reject.code for reject in rejects]) == ([], [code])


def test_a_session_or_a_place_alone_is_enough() -> None:
    nameless = {name: value for name, value in GOOD.items() if name not in {"subscriber", "dimensions"}}
    rows, rejects = read(
        nameless | {"session_id": "v1"}, nameless | {"dimensions": {"node": "n1"}}, feed=Feed.CLOUD
    )
    assert not rejects
    assert [row["session_id"] for row in rows] == ["v1", ""]
    assert {row["vantage"] for row in rows} == {"cloud"}


def test_an_iot_sample_reads_lwm2m_resources() -> None:
    sample = {
        "id": "1",
        "observed_at": "2026-03-01T12:00:00Z",
        "subscriber": "+861440000000001",
        "values": {"battery_pct": 55},
        "lwm2m": {
            "/4/0/2": -101,
            "/4/0/13": 2,
            "/3/0/9": 87,
            "/3/0/3": "fw 1.2",
            "/3/0/11": 4,
            "/9/0/1": True,
        },
    }
    (row,), rejects = read(sample, feed=Feed.IOT)
    assert not rejects
    assert (row["vantage"], row["service"]) == ("cloud", "iot")
    # the feed's own indicator goes before the resource; 2 says level 1; code 4 is an error
    assert row["values"] == {"nrsrp_dbm": -101, "ce_level": 1, "device_error": 1, "battery_pct": 55}
    rows, rejects = read(sample | {"vantage": "pipe"}, sample | {"vantage": "device"}, sample | {"service": "video"},
                         sample | {"lwm2m": {"4/0/2": 1}}, feed=Feed.IOT)  # fmt: skip
    assert [row["vantage"] for row in rows] == ["pipe"]
    assert [reject.pointer for reject in rejects] == ["/1/vantage", "/2/service", "/3/lwm2m/4~10~12"]


def test_lwm2m_coverage_level_is_off_by_one_and_none_is_not_zero() -> None:
    assert [indicators({"/4/0/13": value}) for value in (0, 1, 2, 3, 7)] == [
        {},
        {"ce_level": 0},
        {"ce_level": 1},
        {"ce_level": 2},
        {},
    ]


def test_of_several_lwm2m_values_the_worst_counts() -> None:
    assert indicators({"/3/0/11/0": 0, "/3/0/11/1": 6, "/3/0/9": 80, "/3/1/9": 12}) == {
        "device_error": 1,
        "battery_pct": 12,
    }


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_anything_at_all_is_read_or_refused(raw: bytes) -> None:
    rows, rejects = read(raw)
    assert len(rows) + len(rejects) == 1


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none()
            | st.booleans()
            | st.floats()
            | st.text()
            | st.dictionaries(st.text(), st.floats() | st.text())
            for name in GOOD
        },
    )
)
def test_any_member_of_any_type_is_read_or_refused(change: dict[str, Any]) -> None:
    rows, rejects = read(msgspec.json.encode(GOOD | change))
    assert len(rows) + len(rejects) == 1
