"""Mutations of feeds' files, from a seed: what a parser may meet when a disk, a network or an attacker had it first."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from cem.platform.errors import InvalidInput
from kqi.feeds.errors import BadMapping, UnreadableFeed
from kqi.feeds.items import FeedLimits, Read
from kqi.feeds.pm_counters import read_rules
from kqi.feeds.reading import Mappings, read_stream
from kqi.feeds.storing import NO_AGE_LIMIT, Prepared, prepare
from kqi.feeds.table_mapping import read_table_mapping
from kqi.samples import TimeBounds
from tests.feed_files import CSV, NOW, TABLE_MAPPING, every_format

LIMITS = FeedLimits(max_bytes=4_000_000, max_item_bytes=100_000, max_columns=200, max_block_bytes=2_000_000)
OWN_ERRORS = (UnreadableFeed, BadMapping)
MOST_ITEMS = 20_000
"""Items that a mutant may give: its seed has at most a few. [1]"""

_WORDS = (
    *(
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
        b"&b;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"</measInfo>",
        b"<measValue>",
    ),
    *(b"<r p=''>", b"true", b"NIL", b"-", b"1e999", b"9" * 400, b"0.1.2", b"PT900S", b"P99999999D"),
    *(b"\x00", b"\xff\xfe", b"\xf0\x9f\x98\x80", b"\xc3", b"\\u0000", b"\\ud800", b"bn", b"/4/0/2"),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b",",
        b"\n",
        b"\r\n",
        b";",
        b"null",
        b"NaN",
        b"Infinity",
        b"1e400",
    ),
    *(b"2026-13-45T99:99:99Z", b"9999-12-31T23:59:59-23:59", b"0000", b"+8613812345678"),
    *(b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff" * 8, b"\x7f" + b"\xff" * 7),
)


def seeds() -> list[tuple[str, bytes, Mappings | None]]:
    """Name, content and mapping of every file that is mutated; compressed ones also from within."""
    found: list[tuple[str, bytes, Mappings | None]] = [
        (name, data, None) for name, data in every_format().items()
    ]
    found.append(("mapped.csv", CSV, read_table_mapping(TABLE_MAPPING)))
    return found


def mutants(seed: int, count: int) -> Iterator[tuple[str, bytes, Mappings | None]]:
    """So many mutated files, the same for the same seed; all formats in turn."""
    chance = random.Random(seed)
    files = seeds()
    for number in range(count):
        name, data, mapping = files[number % len(files)]
        if name.endswith(".gz") and chance.random() < 0.5:
            yield name, gzip.compress(_mutated(gzip.decompress(data), chance), mtime=0), mapping
        else:
            yield name, _mutated(data, chance), mapping


def read_all(name: str, data: bytes, mapping: Mappings | None) -> tuple[list[Read], str]:
    """Every item of a mutant, and the name of the error of its own that ended it ('' where none did).

    Any other exception passes through: that is what a fuzz run looks for.
    """
    found: list[Read] = []
    try:
        for item in read_stream(io.BytesIO(data), name, mapping=mapping, limits=LIMITS):
            found.append(item)
            assert len(found) <= MOST_ITEMS, "a mutant gives more items than it can hold"
    except OWN_ERRORS as error:
        return found, type(error).__name__
    return found, ""


def outcome(name: str, data: bytes, mapping: Mappings | None) -> tuple[int, int, str]:
    """Items of a mutant that would be stored, items refused, and the error that ended it."""
    items, error = read_all(name, data, mapping)
    prepared = prepare(
        items, origin="fuzz", hash_number=_hashed, bounds=TimeBounds(NOW, NO_AGE_LIMIT, timedelta(minutes=5))
    )
    stored = sum(isinstance(one, Prepared) for one in prepared)
    return stored, len(prepared) - stored, error


def mapping_mutants(seed: int, count: int) -> Iterator[Callable[[], object]]:
    """Mapping files of both kinds, mutated; each a call that reads one."""
    chance = random.Random(seed)
    rules = (
        b'kind="counters"\n[[object]]\nclasses=["A"]\ndimension="cell"\n[[rule]]\nindicator="a"\nsum=["B"]\n'
    )
    for number in range(count):
        if number % 2:
            yield partial(read_table_mapping, _mutated(TABLE_MAPPING, chance))
        else:
            yield partial(read_rules, _mutated(rules, chance))


def _hashed(number: str) -> str:
    if not number.startswith("+"):
        raise InvalidInput("no number")
    return "s_x"


def _mutated(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(out) + 1)
        end = min(len(out), at + chance.choice((1, 2, 4, 16, 64)))
        match chance.randrange(8):
            case 0:
                if at < len(out):
                    out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at:end] = chance.randbytes(end - at)
            case 2:
                del out[at:end]
            case 3:
                out[at:at] = out[at:end] * chance.choice((1, 2, 50))
            case 4:
                out[at:at] = chance.choice(_WORDS)
            case 5:
                word = chance.choice(_WORDS)
                out[at : at + len(word)] = word
            case 6:
                del out[at:]
            case _:
                other = chance.randrange(len(out) + 1)
                out[at:end] = out[other : other + end - at]
    return bytes(out)
