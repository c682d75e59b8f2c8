"""What a parser yields: one sample to be stored, or one thing that is refused and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from kqi.samples import Feed

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """Bounds of one file, so that no file takes more memory than a few times `max_item_bytes`.

    Parameters
    ----------
    max_bytes
        Of a file once inflated. [B] Chosen here: a province's quarter hour of counters is some 2 GiB of XML.
    max_item_bytes
        Of one line, one JSON element, one XML token or one text of an element. [B]
    max_columns
        Of a table, and counters of one measInfo. [1]
    max_block_bytes
        Of one Arrow message or Parquet row group once inflated. [B]
    """

    max_bytes: int = 32 * 1024 * MIB
    max_item_bytes: int = MIB
    max_columns: int = 2_000
    max_block_bytes: int = 512 * MIB


@dataclass(frozen=True, slots=True)
class WireItem:
    """A sample in the wire form of `kqi.samples`, not yet validated.

    Parameters
    ----------
    place
        Where in the file it stands, for a person: "line 7".
    feed
        Whose rules hold for it.
    body
        One JSON object in UTF-8.
    """

    place: str
    feed: Feed
    body: bytes


@dataclass(frozen=True, slots=True)
class CounterItem:
    """Counters of one measured object in one granularity period, validated.

    Parameters
    ----------
    place
        Where in the file it stands.
    sample_id
        Derived from object, period and counters' names: the same in whatever file it comes.
    observed_at
        The middle of the period; its quarter hour is the sample's window.
    service
        '' where the object serves all.
    dimensions, values, labels
        As stored. Counters without a rule are values named `counter:<name>`.
    """

    place: str
    sample_id: str
    observed_at: datetime
    service: str
    dimensions: Mapping[str, str]
    values: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """What is not stored: where it stands, the member it is about (RFC 6901, '' for all), a word, a sentence."""

    place: str
    code: str
    detail: str
    pointer: str = ""


Item = WireItem | CounterItem
Read = WireItem | CounterItem | Refused


def content_id(prefix: str, *parts: str) -> str:
    """Id out of content: equal for equal parts, whatever the file. 32 hexadecimal digits after the prefix."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return f"{prefix}_{digest.hexdigest()}"
