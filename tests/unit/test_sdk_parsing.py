"""Bodies into reports: what is taken, what is named and why, and that hostile input meets only our own errors."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cem.platform.errors import InvalidInput, MalformedBody, PayloadTooLarge, UnsupportedMedia
from sdk_ingest.parsing import IngestLimits, Parsed, explain, parse_body

NOW = datetime(2026, 11, 22, 7, 41, 12, tzinfo=UTC)
JSON = "application/json"
NDJSON = "application/x-ndjson"
SMALL = IngestLimits(max_body_bytes=20_000, max_inflated_bytes=100_000, max_items=50, max_depth=8)


def report(n: int = 0, **members: Any) -> dict[str, Any]:
    return {"id": f"r-{n}", "observed_at": "2026-11-22T07:30:00Z", **members}


def parse(body: bytes | list[Any] | dict[str, Any], kind: str = JSON, encoding: str = "") -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_body(raw, kind, encoding, SMALL, NOW)


def rejects(parsed: Parsed) -> list[tuple[str, str]]:
    return [(reject.pointer, reject.code) for reject in parsed.rejects]


def test_array_object_and_lines_give_the_same_reports() -> None:
    array = parse([report(1), report(2)])
    lines = parse(b"\n".join(json.dumps(report(n)).encode() for n in (1, 2)) + b"\n", NDJSON)
    alone = parse(report(1))
    assert [item.report for item in array.items] == [item.report for item in lines.items]
    assert alone.items[0].report == array.items[0].report
    assert array.items[1].report.id == "r-2"


def test_good_items_are_kept_among_bad_ones_which_are_named() -> None:
    body = [
        report(0),
        report(1, radio={"rsrp_dbm": 7}),
        {"id": "r-2"},
        5,
        report(4, probes=[{}, {"tcp_ms": "fast"}]),
        report(5, observed_at="yesterday"),
        report(6, observed_at="2026-11-22T07:30:00"),
        report(7, place={"cell": "x" * 129}),
        report(8, status={"thermal": "boiling"}),
        report(9, service="Video on demand"),
        report(10, probes=[{"http_status": 200.5}]),
        report(11),
    ]
    parsed = parse(body)
    assert [item.index for item in parsed.items] == [0, 11]
    assert rejects(parsed) == [
        ("/1/radio/rsrp_dbm", "out_of_range"),
        ("/2/observed_at", "missing"),
        ("/3", "not_an_object"),
        ("/4/probes/1/tcp_ms", "wrong_type"),
        ("/5/observed_at", "bad_time"),
        ("/6/observed_at", "bad_time"),
        ("/7/place/cell", "wrong_length"),
        ("/8/status/thermal", "unknown_word"),
        ("/9/service", "bad_pattern"),
        ("/10/probes/0/http_status", "out_of_range"),
    ]


def test_a_reject_never_quotes_what_was_sent() -> None:
    number = "+8613812345678"
    parsed = parse(
        [report(1, status={"thermal": number}), report(2, **{"radio": number}), report(3, msisdn=number)]
    )
    assert len(parsed.rejects) == 3
    assert not any("138" in reject.detail + reject.pointer for reject in parsed.rejects)


def test_lines_are_named_by_their_own_index_and_blank_ones_do_not_count() -> None:
    parsed = parse(b'\n{"id":"a"}\n\r\n{broken\n' + json.dumps(report(4)).encode(), NDJSON)
    assert rejects(parsed) == [("/1/observed_at", "missing"), ("/3", "bad_json")]
    assert [item.index for item in parsed.items] == [4]


def test_unknown_members_are_kept_at_every_depth() -> None:
    sent = report(1, new_group={"a": [1, {"b": None}]}, radio={"rsrp_dbm": -90, "beam": 7})
    assert parse(sent).items[0].body == sent


def test_null_is_absent() -> None:
    parsed = parse(report(1, radio=None, place={"cell": None}))
    assert parsed.items[0].report.radio is None
    assert parsed.items[0].report.place is not None


@pytest.mark.parametrize(
    ("age", "code"),
    [
        (timedelta(hours=48, seconds=1), "too_late"),
        (timedelta(hours=47, minutes=59), None),
        (timedelta(minutes=-4, seconds=-59), None),
        (timedelta(minutes=-5, seconds=-1), "in_future"),
    ],
)
def test_times_outside_48_hours_back_and_5_minutes_ahead_are_refused(
    age: timedelta, code: str | None
) -> None:
    at = (NOW - age).isoformat()
    expected = [] if code is None else [("/0/observed_at", code)]
    assert rejects(parse([report(1, observed_at=at)])) == expected
    event = {
        "player": {
            "events": [{"kind": "requested", "at": "2026-11-22T07:30:00Z"}, {"kind": "ended", "at": at}]
        }
    }
    expected = [] if code is None else [("/0/player/events/1/at", code)]
    assert rejects(parse([report(1, **event)])) == expected


def test_times_at_the_ends_of_the_calendar_are_refused_not_a_failure() -> None:
    far = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
    assert rejects(parse([report(n, observed_at=at) for n, at in enumerate(far)])) == [
        ("/0/observed_at", "too_late"),
        ("/1/observed_at", "in_future"),
    ]


def test_depth_counts_the_item_as_one() -> None:
    def nested(depth: int) -> Any:
        return report(1, deep=json.loads("[" * (depth - 1) + "]" * (depth - 1)))

    assert rejects(parse([nested(8)])) == []
    assert rejects(parse([nested(9)])) == [("/0", "too_deep")]


def test_members_that_name_a_person_are_refused_wherever_they_stand() -> None:
    parsed = parse([report(1, imsi="460001234567890"), report(2, iot={"x~y": [{"msisdn": 1}]})])
    assert rejects(parsed) == [("/0/imsi", "personal_field"), ("/1/iot/x~0y/0/msisdn", "personal_field")]


def test_a_member_named_twice_counts_with_its_last_value_also_in_what_is_stored() -> None:
    parsed = parse(
        b'{"id":"a","subscriber":"+8613812345678","observed_at":"2026-11-22T07:30:00Z","subscriber":null}'
    )
    assert parsed.items[0].report.subscriber is None
    assert parsed.items[0].body["subscriber"] is None


@pytest.mark.parametrize(
    "bad",
    [
        b'{"id":"\\ud800","observed_at":"2026-11-22T07:30:00Z"}',
        b'{"id":"\xff","observed_at":"2026-11-22T07:30:00Z"}',
        b'{"id":"a","observed_at":"2026-11-22T07:30:00Z","x":NaN}',
        b'{"id":"a","observed_at":"2026-11-22T07:30:00Z","x":Infinity}',
        b'{"id":"a","observed_at":"2026-11-22T07:30:00Z","x":1e999}',
        b'{"id":"a","observed_at":"2026-11-22T07:30:00Z","x":' + b"1" * 5_000 + b"}",
        b'{"id":"a","observed_at":"2026-11-22T07:30:00Z","x":"a\nb"}',
    ],
)
def test_an_item_that_is_no_json_costs_no_neighbour(bad: bytes) -> None:
    good = json.dumps(report(1)).encode()
    parsed = parse(b"[" + good + b", " + bad + b" ," + good + b"]")
    assert rejects(parsed) == [("/1", "bad_json")]
    assert [item.index for item in parsed.items] == [0, 2]


def test_an_integer_of_any_size_is_kept_or_named() -> None:
    kept = parse(b'{"id":"a","observed_at":"2026-11-22T07:30:00Z","x":123456789012345678901234567890}')
    assert kept.items[0].body["x"] == 123456789012345678901234567890
    named = parse(
        b'[{"id":"a","observed_at":"2026-11-22T07:30:00Z","radio":{"rsrp_dbm":-1' + b"0" * 40 + b"}}]"
    )
    assert rejects(named) == [("/0/radio/rsrp_dbm", "out_of_range")]


@pytest.mark.parametrize("body", [b"", b"  ", b"[", b"[1,]", b"\x00", b"[[" * 500 + b"]", b"[]", b"nonsense"])
def test_a_body_that_cannot_be_cut_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse(body)


def test_one_object_that_is_broken_is_one_bad_item() -> None:
    assert rejects(parse(b'{"id":')) == [("/0", "bad_json")]


def test_json_that_is_neither_array_nor_object_is_refused_as_a_whole() -> None:
    with pytest.raises(InvalidInput):
        parse(b'"text"')


@pytest.mark.parametrize(
    ("kind", "encoding"), [("text/xml", ""), ("multipart/form-data", ""), (JSON, "br"), (JSON, "x")]
)
def test_other_types_and_encodings_are_refused(kind: str, encoding: str) -> None:
    with pytest.raises(UnsupportedMedia):
        parse([report(1)], kind, encoding)


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity", ""])
def test_encodings_are_undone(encoding: str) -> None:
    raw = json.dumps([report(1)]).encode()
    packed = {"gzip": gzip.compress, "zstd": zstandard.compress}.get(encoding, lambda data: data)(raw)
    assert parse(packed, JSON, encoding).items[0].report.id == "r-1"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_cut_or_broken_archive_is_malformed(encoding: str) -> None:
    packed = gzip.compress(b"[]" * 400) if encoding == "gzip" else zstandard.compress(b"[]" * 400)
    for bad in (
        packed[:-5],
        packed[:3],
        b"no archive",
        packed[:-1] + bytes([packed[-1] ^ 255]) if encoding == "gzip" else b"x",
    ):
        with pytest.raises(MalformedBody):
            parse(bad, JSON, encoding)


def test_each_bound_has_its_own_error() -> None:
    bomb = b"[" + b" " * 10_000_000 + b"]"
    found = {}
    for name, body, kind, encoding in (
        ("bytes", b"[" + b" " * 20_000 + b"]", JSON, ""),
        ("inflated_bytes", gzip.compress(bomb), JSON, "gzip"),
        ("inflated_bytes", zstandard.compress(bomb), JSON, "zstd"),
        ("items", b"[" + b",".join([b"1"] * 51) + b"]", JSON, ""),
        ("items", b"1\n" * 51, NDJSON, ""),
        ("items", b"[" + b",".join([b"NaN"] * 51) + b"]", JSON, ""),
    ):
        with pytest.raises(PayloadTooLarge) as error:
            parse(body, kind, encoding)
        assert error.value.extra["bound"] == name
        found[name] = error.value.extra["limit"]
    assert found == {"bytes": 20_000, "inflated_bytes": 100_000, "items": 50}


def test_messages_become_pointers() -> None:
    assert explain("Expected `str`, got `int` - at `$.iot.lwm2m[...]`") == (
        "/iot/lwm2m",
        "wrong_type",
        "Expected `str`, got `int`.",
    )
    assert explain("Object missing required field `at` - at `$.player.events[12]`")[:2] == (
        "/player/events/12/at",
        "missing",
    )


REFUSALS = (MalformedBody, InvalidInput, PayloadTooLarge)
"""What a body as a whole may be refused with; anything else fails the properties below."""

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["stall", "2026-11-22T07:30:00Z"])
)
names = (
    st.sampled_from(
        ["id", "observed_at", "radio", "probes", "player", "events", "kind", "at", "iot", "lwm2m"]
    )
    | st.text()
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_any_json_gives_items_and_rejects_or_our_own_error(value: Any) -> None:
    raw = json.dumps(value).encode()  # NaN and lone surrogates included
    for kind in (JSON, NDJSON):
        with suppress(*REFUSALS):
            parsed = parse_body(raw, kind, "", SMALL, NOW)
            assert len(parsed.items) + len(parsed.rejects) == (
                len(value) if kind == JSON and isinstance(value, list) else 1
            )


@given(st.binary(max_size=300), st.sampled_from([JSON, NDJSON]), st.sampled_from(["", "gzip", "zstd"]))
def test_any_bytes_give_items_and_rejects_or_our_own_error(raw: bytes, kind: str, encoding: str) -> None:
    heads = {"gzip": gzip.compress(b"[{}]"), "zstd": zstandard.compress(b"[{}]"), "": b""}
    for body in (raw, heads[encoding][:12] + raw):
        with suppress(*REFUSALS):
            parse_body(body, kind, encoding, SMALL, NOW)


@given(st.lists(values, max_size=4), st.binary(min_size=1, max_size=8), st.integers(0, 200))
def test_bytes_put_anywhere_into_json_give_our_own_errors(items: list[Any], noise: bytes, at: int) -> None:
    raw = json.dumps(items).encode()
    with suppress(*REFUSALS):
        parse_body(raw[:at] + noise + raw[at:], JSON, "", SMALL, NOW)
