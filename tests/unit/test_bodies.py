"""Bodies within bounds, and every way out of them."""

from __future__ import annotations

import gzip

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cem.platform.bodies import BodyLimits, inflate, split_items
from cem.platform.errors import CemError, InvalidInput, MalformedBody, PayloadTooLarge, UnsupportedMedia

LIMITS = BodyLimits(max_items=3)


@given(st.binary(max_size=2_000), st.integers(1, 3))
def test_what_was_packed_comes_out_also_in_several_parts(body: bytes, parts: int) -> None:
    size = len(body) // parts + 1
    pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    assert inflate(b"".join(gzip.compress(piece) for piece in pieces), "gzip", 10_000) == body
    assert inflate(b"".join(zstandard.compress(piece) for piece in pieces), "zstd", 10_000) == body


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_the_bound_is_exact(encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zstandard.compress
    assert len(inflate(pack(b"x" * 1_000), encoding, 1_000)) == 1_000
    with pytest.raises(PayloadTooLarge) as raised:
        inflate(pack(b"x" * 1_001), encoding, 1_000)
    assert raised.value.extra == {"limit": 1_000, "bound": "inflated_bytes"}
    with pytest.raises(PayloadTooLarge):
        inflate(pack(b"x" * 600) * 2, encoding, 1_000)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize(
    "harm", [lambda b: b[:-3], lambda b: b[:5], lambda b: b + b"junk", lambda _: b"junk"]
)
def test_a_broken_archive_is_refused(encoding: str, harm) -> None:  # type: ignore[no-untyped-def]
    pack = gzip.compress if encoding == "gzip" else zstandard.compress
    with pytest.raises(MalformedBody):
        inflate(harm(pack(b"some body" * 100)), encoding, 10_000)


def test_other_encodings_are_refused() -> None:
    with pytest.raises(UnsupportedMedia):
        inflate(b"", "br", 10)
    with pytest.raises(UnsupportedMedia):
        inflate(b"", "gzip, gzip", 10)


@pytest.mark.parametrize(
    ("body", "media", "items"),
    [
        (b'[{"a":1}, {"b":[2]}]', "application/json", [b'{"a":1}', b'{"b":[2]}']),
        (b' {"a":1} ', "application/json; charset=utf-8", [b' {"a":1} ']),
        (b'{"a":1}\r\n\n{"b":2}', "application/x-ndjson", [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\nno json\n', "application/x-ndjson", [b'{"a":1}', b"no json"]),
        (b'[{"a":1}]', "application/vnd.cem+json", [b'{"a":1}']),
    ],
)
def test_items_are_cut_out(body: bytes, media: str, items: list[bytes]) -> None:
    assert split_items(body, media, LIMITS) == items


@pytest.mark.parametrize(
    ("body", "media", "error"),
    [
        (b"", "application/json", MalformedBody),
        (b"[]", "application/json", MalformedBody),
        (b"\n \n", "application/x-ndjson", MalformedBody),
        (b"[{]", "application/json", MalformedBody),
        (b"[" * 100_000, "application/json", MalformedBody),
        (b"7", "application/json", InvalidInput),
        (b"[1,2,3,4]", "application/json", PayloadTooLarge),
        (b"1\n2\n3\n4", "application/x-ndjson", PayloadTooLarge),
        (b"{}", "text/plain", UnsupportedMedia),
    ],
)
def test_what_cannot_be_cut_is_refused(body: bytes, media: str, error: type[CemError]) -> None:
    with pytest.raises(error):
        split_items(body, media, LIMITS)
