"""Lines, arrays and tables: each format gives the items that are in it, and refuses the others by name."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
import zstandard

from kqi.feeds.errors import BadMapping, UnreadableFeed
from kqi.feeds.items import CounterItem, FeedLimits, Read, Refused, WireItem
from kqi.feeds.json_items import json_elements
from kqi.feeds.reading import Format, format_of, load_mapping, read_file, read_stream
from kqi.feeds.table_mapping import read_table_mapping
from kqi.feeds.units import factor
from kqi.samples import Feed
from tests.feed_files import (
    CSV,
    PM_LISTS,
    SAMPLES,
    TABLE_MAPPING,
    array,
    arrow,
    every_format,
    ndjson,
    parquet,
    table,
)


def read(data: bytes, name: str, **options: object) -> list[Read]:
    return list(read_stream(io.BytesIO(data), name, **options))  # type: ignore[arg-type]


def bodies(found: list[Read]) -> list[dict[str, object]]:
    assert all(isinstance(one, WireItem) for one in found)
    return [msgspec.json.decode(one.body) for one in found if isinstance(one, WireItem)]


def codes(found: list[Read]) -> list[str]:
    return [one.code for one in found if isinstance(one, Refused)]


@pytest.mark.parametrize("name", sorted(every_format()))
def test_every_format_is_read_from_a_path(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(every_format()[name])
    found = list(read_file(tmp_path / name))
    assert any(isinstance(one, (WireItem, CounterItem)) for one in found)


def test_lines_array_and_packed_lines_are_the_same_items() -> None:
    expected = bodies(read(ndjson(), "a.ndjson"))
    assert len(expected) == len(SAMPLES)
    assert bodies(read(array(), "a.json")) == expected
    assert bodies(read(gzip.compress(ndjson()), "a.ndjson.gz")) == expected
    assert bodies(read(gzip.compress(ndjson()[:100]) + gzip.compress(ndjson()[100:]), "a.ndjson")) == expected
    assert bodies(read(zstandard.compress(ndjson()), "a.ndjson.zst")) == expected


def test_who_says_whose_feed_it_is() -> None:
    assert [one.feed for one in read(ndjson(), "a.ndjson") if isinstance(one, WireItem)] == [
        Feed.CLOUD,
        Feed.PIPE,
        Feed.IOT,
    ]
    nobody = b'{"id":"x","observed_at":"2026-11-22T07:31:00Z","values":{"rtt_ms":1}}'
    assert codes(read(nobody, "a.ndjson")) == ["unknown_feed"]
    assert read(nobody, "a.ndjson", feed=Feed.PIPE) == [WireItem("line 1", Feed.PIPE, nobody)]


def test_an_id_is_made_of_content_not_of_place() -> None:
    first = bodies(read(ndjson(), "a.ndjson"))[1]["id"]
    lines = ndjson().split(b"\n")
    again = bodies(read(b"\n\n" + lines[1], "b.ndjson"))[0]["id"]
    changed = bodies(read(lines[1].replace(b"35", b"36"), "a.ndjson"))[0]["id"]
    assert first == again != changed


def test_lwm2m_in_any_form_is_one_sample() -> None:
    common = {"observed_at": "2026-11-22T07:33:00Z", "service": "iot", "subscriber": "+8613812345678"}
    forms: list[object] = [
        {"/4/0/2": -101, "/10/0/9": 93, "/6/0/0": 30.27415, "/6/0/1": 120.15515, "/4/0/0": 7},
        {"4": {"0": {"2": -101, "0": 7}}, "10": {"0": {"9": 93}}, "6": {"0": {"0": 30.27415, "1": 120.15515}}},
        [{"bn": "/4/0/", "n": "2", "v": -101}, {"n": "0", "v": 7}, {"bn": "/10/0/9", "vd": "XQ"},
         {"bn": "/6/0/", "n": "0", "v": 30.27415}, {"n": "1", "v": 120.15515}],
        {"bn": "/", "e": [{"n": "4/0/2", "v": -101}, {"n": "4/0/0", "v": 7}, {"n": "10/0/9", "v": 93},
                          {"n": "6/0/0", "v": 30.27415}, {"n": "6/0/1", "v": 120.15515}]},
    ]  # fmt: skip
    found = bodies(
        read(b"\n".join(json.dumps({**common, "lwm2m": form}).encode() for form in forms), "a.ndjson")
    )
    assert len({one["id"] for one in found}) == 1
    assert found[0]["values"] == {"edrx_cycle_s": 2621.44}  # 0x5D: code 13
    assert found[0]["labels"] == {"latitude": "30.274", "longitude": "120.155"}
    assert found[0]["dimensions"] == {"rat": "NB-IoT"}


def test_what_is_no_lwm2m_is_refused() -> None:
    for wrong in ([1], {"4": 1}, {"x": {"0": {}}}, {"e": 1}, [{"bn": 1}]):
        line = json.dumps({"service": "iot", "lwm2m": wrong}).encode()
        assert codes(read(line, "a.ndjson")) == ["bad_lwm2m"]


def test_lines_that_are_no_samples_are_refused_alone() -> None:
    data = b'nonsense\n[1]\n\xff\n{"a":' + b"[" * 5_000 + b"\n" + ndjson()
    found = read(data, "a.ndjson")
    assert codes(found) == ["bad_json", "not_an_object", "bad_json", found[3].code]  # type: ignore[union-attr]
    assert len(found) == 4 + len(SAMPLES)


def test_a_line_that_is_too_long_costs_no_other() -> None:
    limits = FeedLimits(max_item_bytes=1_000)
    found = read(b"x" * 200_000 + b"\n" + ndjson(), "a.ndjson", limits=limits)
    assert codes(found) == ["too_long"]
    assert len(found) == 1 + len(SAMPLES)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_elements_are_cut_at_any_piece(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kqi.feeds.json_items.PIECE_BYTES", size)
    data = b' \n[ {"a":"]}\\"\\\\"}, [1,[2]] ,"x,]", 3 ,{} ] \n'
    found = list(json_elements(io.BufferedReader(io.BytesIO(data)), 1_000))  # type: ignore[arg-type]
    assert found == [b'{"a":"]}\\"\\\\"}', b"[1,[2]]", b'"x,]"', b"3", b"{}"]


@pytest.mark.parametrize(
    "data",
    [b"", b"1", b"[", b"[1", b'["', b"[1]]", b"[1] x", b"{", b"{}{}", b"[}", b'[{"a":"' + b"x" * 5_000],
)
def test_what_is_no_json_file(data: bytes) -> None:
    with pytest.raises(UnreadableFeed):
        read(data, "a.json", limits=FeedLimits(max_item_bytes=1_000))


def test_an_empty_array_has_no_item() -> None:
    assert read(b" [ ] ", "a.json") == []


def test_a_table_with_its_mapping() -> None:
    found = read(CSV, "a.csv", mapping=read_table_mapping(TABLE_MAPPING))
    assert codes(found) == ["wrong_type"]
    first, empty, _, last = found
    assert isinstance(first, WireItem)
    assert isinstance(empty, WireItem)
    assert isinstance(last, WireItem)
    sample = msgspec.json.decode(first.body)
    assert sample.pop("id").startswith("row_")
    assert sample == {
        "observed_at": "2026-11-22T07:31:00Z",  # 15:31 in Shanghai
        "subscriber": "+8613812345678",
        "service": "video",
        "dimensions": {"cell": "c-1", "city": "Hangzhou"},
        "values": {"rtt_ms": 50.0},  # 0.05 s
    }
    assert msgspec.json.decode(last.body)["values"] == {"rtt_ms": 250.0}


def test_a_tables_rows_keep_their_ids_in_another_order() -> None:
    head, *rows = CSV.splitlines(keepends=True)
    mapping = read_table_mapping(TABLE_MAPPING)
    one = {
        one.body for one in read(head + b"".join(rows), "a.csv", mapping=mapping) if isinstance(one, WireItem)
    }
    other = {
        one.body
        for one in read(head + b"".join(reversed(rows)), "b.csv", mapping=mapping)
        if isinstance(one, WireItem)
    }
    assert one == other


@pytest.mark.parametrize(
    ("form", "cell"),
    [
        ("epoch_s", "1795332660"),
        ("epoch_s", "1795332660.0"),
        ("epoch_ms", "1795332660000"),
        ("iso", "2026-11-22T07:31Z"),
    ],
)
def test_times_of_tables(form: str, cell: str) -> None:
    mapping = read_table_mapping(
        f'kind="table"\nfeed="pipe"\n[time]\ncolumn="t"\nformat="{form}"\n[values]\nrtt_ms="r"\n'.encode()
    )
    assert (
        bodies(read(f"t;r\n{cell};1\n".encode(), "a.csv", mapping=mapping))[0]["observed_at"]
        == "2026-11-22T07:31:00Z"
    )


def test_a_guessed_table_takes_only_what_is_known() -> None:
    head = b"observed_at,vantage,cell,rtt_ms,failed,phone,note\n"
    row = b"2026-11-22T07:31:00Z,pipe,c-1,50,1,13812345678,hello\n"
    assert bodies(read(head + row, "a.csv"))[0]["values"] == {"rtt_ms": 50.0, "failed": 1.0}


def test_rows_that_do_not_fit_and_tables_that_are_none() -> None:
    mapping = read_table_mapping(TABLE_MAPPING)
    assert codes(read(b"time,cell,rtt,line\n1,2\n\nx,c,1,\n", "a.csv", mapping=mapping)) == [
        "wrong_count",
        "bad_time",
    ]
    for data in (b"", b"\n", b"a,a\n", b"\xff\xfe,b\n", b'time,cell,rtt,line\n"' + b"x" * 3_000_000):
        with pytest.raises(UnreadableFeed):
            read(data, "a.csv", mapping=mapping)
    with pytest.raises(BadMapping):
        read(b"a,b\n", "a.csv", mapping=mapping)
    with pytest.raises(BadMapping):
        read(b"a,b\n", "a.csv")


@pytest.mark.parametrize(
    "change",
    [
        (b'kind = "table"', b'kind = "other"'),
        (b'feed = "pipe"', b'feed = "tap"'),
        (b'unit = "s"', b'unit = "kg"'),
        (b'unit = "s"', b"unit = 1"),
        (b"rtt_ms", b"RTT"),
        (b"cell =", b"sell ="),
        (b"Asia/Shanghai", b"Asia/Nowhere"),
        (b"[dimensions]", b"[dimension]"),
        (b'"%Y-%m-%d %H:%M:%S"', b'"epoch"'),
        (b'{ value = "Hangzhou" }', b'{ value = "H", column = "c" }'),
        (b"kind", b"kind ="),
    ],
)
def test_a_mapping_that_says_nonsense(change: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadMapping):
        read_table_mapping(TABLE_MAPPING.replace(*change))


def test_mapping_files_of_both_kinds(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_bytes(TABLE_MAPPING)
    with pytest.raises(BadMapping):
        read(PM_LISTS, "a.xml", mapping=load_mapping(path))
    path.write_bytes(b'kind="counters"\n')
    with pytest.raises(BadMapping):
        read(CSV, "a.csv", mapping=load_mapping(path))
    with pytest.raises(BadMapping):
        load_mapping(tmp_path / "missing.toml")


def test_columns_give_the_same_in_every_container() -> None:
    expected = read(parquet(), "a.parquet")
    assert bodies(expected[:1])[0]["values"] == {"rtt_ms": 50.0}
    assert len(expected) == table().num_rows
    for name, data in every_format().items():
        if "arrow" in name:
            assert read(data, name) == expected


def test_a_table_in_wire_form() -> None:
    rows = pa.table(
        {
            "id": ["x"],
            "observed_at": pa.array(["2026-11-22T07:31:00Z"]),
            "vantage": ["cloud"],
            "dimensions": pa.array([[("node", "n")]], pa.map_(pa.string(), pa.string())),
            "values": pa.array([{"first_byte_ms": 1.5, "origin_ms": None}]),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as out:
        out.write_table(rows)
    assert bodies(read(sink.getvalue(), "a.arrows")) == [
        {
            "id": "x",
            "observed_at": "2026-11-22T07:31:00Z",
            "vantage": "cloud",
            "dimensions": {"node": "n"},
            "values": {"first_byte_ms": 1.5},
        }
    ]


def test_arrow_messages_that_state_too_much_are_refused() -> None:
    with pytest.raises(UnreadableFeed, match="longer than allowed"):
        read(arrow(), "a.arrows", limits=FeedLimits(max_block_bytes=100))
    zeros = pa.table({"observed_at": ["x" * 2_000_000], "rtt_ms": [1.0]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, zeros.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as out:
        out.write_table(zeros)
    assert len(sink.getvalue()) < 10_000
    with pytest.raises(UnreadableFeed, match="inflated"):
        read(sink.getvalue(), "a.arrows", limits=FeedLimits(max_block_bytes=1_000_000))


@pytest.mark.parametrize("cut", [3, 10, 100, 500])
def test_cut_off_binaries_are_refused(cut: int) -> None:
    for data, name in (
        (arrow(), "a.arrows"),
        (parquet(), "a.parquet"),
        (gzip.compress(ndjson() * 9), "a.ndjson.gz"),
    ):
        with pytest.raises(UnreadableFeed):
            read(data[: min(cut, len(data) - 1)], name)


def test_more_than_allowed_once_inflated() -> None:
    with pytest.raises(UnreadableFeed, match="inflated"):
        read(gzip.compress(b"\n" * 5_000_000), "a.ndjson.gz", limits=FeedLimits(max_bytes=1_000_000))
    with pytest.raises(UnreadableFeed, match="inflated"):
        read(zstandard.compress(b"\n" * 5_000_000), "a.ndjson", limits=FeedLimits(max_bytes=1_000_000))


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("x.XML.GZ", b"", Format.PM_XML),
        ("x", b"<?xml", Format.PM_XML),
        ("x", b"[1]", Format.JSON),
        ("x", b'{"a"', Format.NDJSON),
        ("x.bin", b"PAR1", Format.PARQUET),
        ("x.bin", b"ARROW1\0\0", Format.ARROW),
        ("x.tsv", b"a\tb", Format.CSV),
    ],
)
def test_what_a_file_is(name: str, head: bytes, expected: Format) -> None:
    assert format_of(name, head) is expected


def test_a_file_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFeed):
        format_of("x", b"hello")
    with pytest.raises(UnreadableFeed):
        list(read_file(tmp_path / "missing.xml"))


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [("s", "ms", 1000), ("us", "ms", 0.001), ("Mbit/s", "kbit/s", 1000), ("MB/s", "kbit/s", 8000), ("%", "1", 0.01),
     ("1", "%", 100), ("V", "mV", 1000), ("dBm", "dBm", 1), ("dBm", "dB", None), ("s", "1", None), ("x", "x", 1)],
)  # fmt: skip
def test_units(given: str, wanted: str, expected: float | None) -> None:
    assert factor(given, wanted) == (None if expected is None else pytest.approx(expected))
