"""CMCD's wire form, versions 1 and 2: what is read, what is forgiven, what is named."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_ingest.cmcd import (
    MAX_RECORD_BYTES,
    CmcdError,
    Record,
    Typed,
    parse_events,
    parse_headers,
    parse_query,
    parse_record,
)


def members(text: str) -> dict[str, Any]:
    return dict(parse_record(text.encode()).members)


def failure(text: str | bytes) -> tuple[str, str]:
    with pytest.raises(CmcdError) as error:
        parse_record(text if isinstance(text, bytes) else text.encode())
    return error.value.code, error.value.key


def test_version_1_query_as_the_standard_writes_it() -> None:
    # CTA-5004 (2020) clause 3.2: percent-encoded, keys without a value are true.
    record = parse_query(
        "token=x&CMCD=br%3D3200%2Cbs%2Cd%3D4004%2Cmtp%3D25400%2Cot%3Dv%2Csid%3D%226e2fb550%22&b=1"
    )
    assert record is not None
    assert dict(record.members) == {
        "br": 3200.0,
        "bs": True,
        "d": 4004.0,
        "mtp": 25400.0,
        "ot": "v",
        "sid": "6e2fb550",
    }
    assert record.version == 1
    assert parse_query("a=1&cmcd=bs") is None


def test_headers_are_one_record_whatever_their_case() -> None:
    record = parse_headers(
        {
            "CMCD-Request": "mtp=25400",
            "cmcd-object": "br=3200,d=4004",
            "Cmcd-Session": 'sid="a"',
            "CMCD-Status": "bs",
        }
    )
    assert record is not None
    assert dict(record.members) == {"mtp": 25400.0, "br": 3200.0, "d": 4004.0, "sid": "a", "bs": True}
    assert parse_headers({"accept": "*/*"}) is None


def test_version_1_habits_are_forgiven() -> None:
    # As a player of version 1 really logs it: sixteen decimals, which structured fields do not allow.
    assert members(
        'bl=3993.8321995464853,cid="1111-1",dl=3993.8321995464853,mtp=13.06,ot=a,sf=h,st=v,su'
    ) == {
        "bl": 3993.8321995464853,
        "cid": "1111-1",
        "dl": 3993.8321995464853,
        "mtp": 13.06,
        "ot": "a",
        "sf": "h",
        "st": "v",
        "su": True,
    }
    assert members('cid="影片-1", Com.Example-Key=7') == {"cid": "影片-1", "Com.Example-Key": 7.0}
    assert members(r'nor="a\"b\\c,d=e",bl=1.00000000000001')["nor"] == r'a"b\c,d=e'


def test_inner_lists_of_version_2_keep_their_types() -> None:
    record = parse_record(b'br=(3200;v 128;a),bl=(4000),ec=("manifestLoadError" "503"),v=2')
    assert record.members["br"] == (Typed(3200.0, "v"), Typed(128.0, "a"))
    assert record.number("br") == 3200.0
    assert record.number("bl") == 4000.0
    assert record.texts("ec") == ("manifestLoadError", "503")
    assert parse_record(b"br=(128;a 64;a)").number("br") == 128.0
    tolerant = parse_record(b"br=(3200.123456;v 128;a),bl=2.00000000001")
    assert tolerant.members["br"] == (Typed(3200.123456, "v"), Typed(128.0, "a"))


def test_a_players_own_keys_are_told_apart() -> None:
    record = parse_record(b'com.example-plan="gold",org.example-n=3,com.example-live,sid="a"')
    assert record.custom == {"com.example-plan": "gold", "org.example-n": "3", "com.example-live": "true"}


def test_types_are_checked_where_a_member_is_read() -> None:
    record = Record({"sid": 5.0, "br": "fast", "ec": (Typed(1.0),), "bs": True})
    for read, key in (
        (record.text, "sid"),
        (record.number, "br"),
        (record.texts, "ec"),
        (record.number, "bs"),
    ):
        with pytest.raises(CmcdError) as error:
            read(key)
        assert (error.value.code, error.value.key) == ("wrong_type", key)
    assert record.number("absent") is None
    assert record.text("absent") == ""


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        ("", "empty", ""),
        ("bl=(1 2", "bad_member", "bl"),
        ('sid="open', "bad_member", "sid"),
        ("a=1,,b=2", "bad_member", ""),
        ("x=@99999999999999999999", "bad_member", "x"),
        ("x=:YWJj:", "wrong_type", "x"),
        ("br=\x01", "bad_member", "br"),
        ('cid="' + "x" * 3_000 + '"', "wrong_length", "cid"),
        ("a=" + "1" * 400, "bad_member", "a"),
        (",".join(f"k{n}=1" for n in range(97)), "wrong_length", ""),
        ("a=1," * MAX_RECORD_BYTES, "wrong_length", ""),
    ],
)
def test_what_cannot_be_read_is_named(text: str, code: str, key: str) -> None:
    assert failure(text) == (code, key)


def test_bytes_that_are_no_text_are_named() -> None:
    assert failure(b'sid="\xff\xfe"') == ("bad_utf8", "")


def test_good_lines_are_kept_among_bad_ones_which_have_their_number() -> None:
    body = (
        b'e=ps,sid="a",sta=s,ts=1795333595060,v=2\n'
        b"\n"
        b'sid="a",ts=1795333595061,v=2\r\n'
        b'e=ps,sid="a",v=2\n'
        b'e=ps,sid="a",ts=1795333595062\n'
        b'e=ps,sid="a",ts=1795333595062,v=3\n'
        b'e=ps,sid="a",ts=1795333595062.5,v=2\n'
        b'e=ps,sid="a",ts,v=2\n'
        b'e=t,sid="a",ts=1795333595063,v=2\r\n'
    )
    found = [
        (line, (record.code, record.key) if isinstance(record, CmcdError) else record.text("e"))
        for line, record in parse_events(body)
    ]
    assert found == [
        (0, "ps"),
        (2, ("missing", "e")),
        (3, ("missing", "ts")),
        (4, ("missing", "v")),
        (5, ("unknown_version", "v")),
        (6, ("bad_time", "ts")),
        (7, ("bad_time", "ts")),
        (8, "t"),
    ]


def test_the_last_line_may_lack_its_end() -> None:
    assert [line for line, _ in parse_events(b"e=t,ts=1,v=2\ne=t,ts=2,v=2")] == [0, 1]


@given(
    st.binary(max_size=200) | st.text(alphabet='abe=,;()"\\.-19 ?@:*%\n\t\u00e9', max_size=80).map(str.encode)
)
def test_any_bytes_give_records_or_our_own_error(body: bytes) -> None:
    for line, record in parse_events(body):
        assert line >= 0
        assert isinstance(record, Record | CmcdError)
    with suppress(CmcdError):
        parse_query("CMCD=" + body.decode("latin-1"))
    with suppress(CmcdError):
        parse_headers({"CMCD-Object": body.decode("latin-1")})


@given(
    st.dictionaries(
        st.from_regex(re.compile(r"[a-z][a-z0-9_.*-]{0,10}"), fullmatch=True),
        st.booleans()
        | st.integers(-(10**15) + 1, 10**15 - 1)
        | st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30),
        min_size=1,
        max_size=10,
    )
)
def test_what_is_written_by_the_standard_is_read_back(sent: dict[str, Any]) -> None:
    # RFC 8941 §4.1.2: dictionaries; §4.1.6: strings.
    def written(key: str, value: Any) -> str:
        if isinstance(value, bool):
            return key if value else f"{key}=?0"
        if isinstance(value, int):
            return f"{key}={value}"
        return f'{key}="' + value.replace("\\", r"\\").replace('"', r"\"") + '"'

    text = ", ".join(written(key, value) for key, value in sent.items())
    assert members(text) == {key: float(v) if type(v) is int else v for key, v in sent.items()}
