"""All SQL of subscribers. Functions take the caller's session; nobody commits here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from cem.customers.models import Subscriber
from cem.platform.db import insert_ignore


@dataclass(frozen=True)
class NewSubscriber:
    """What a subscriber's row starts with."""

    subscriber_id: str
    number_encrypted: bytes
    number_masked: str
    key_id: str
    at: datetime


def add_missing(session: Session, new: Sequence[NewSubscriber]) -> int:
    """Insert those that are not there yet, whoever else does the same; how many went in.

    Rows go in by ascending id, so that two transactions never wait for each other in a circle.
    """
    rows = [
        {
            "subscriber_id": each.subscriber_id,
            "number_encrypted": each.number_encrypted,
            "number_masked": each.number_masked,
            "key_id": each.key_id,
            "attributes": {},
            "created_at": each.at,
            "updated_at": each.at,
        }
        for each in sorted(new, key=lambda each: each.subscriber_id)
    ]
    return insert_ignore(session, cast(Table, Subscriber.__table__), rows)


def known(session: Session, subscriber_ids: Iterable[str]) -> frozenset[str]:
    """Which of these have a row."""
    query = select(Subscriber.subscriber_id).where(Subscriber.subscriber_id.in_(list(subscriber_ids)))
    return frozenset(session.scalars(query))


def by_id(session: Session, subscriber_id: str) -> Subscriber | None:
    """The row of this subscriber."""
    return session.get(Subscriber, subscriber_id)


def merge_attributes(session: Session, changes: Mapping[str, Mapping[str, Any]], at: datetime) -> None:
    """Set these attributes of each subscriber, keep the others, remove those set to None."""
    query = (
        select(Subscriber)
        .where(Subscriber.subscriber_id.in_(sorted(changes)))
        .order_by(Subscriber.subscriber_id)
        .with_for_update()
    )
    for row in session.scalars(query):
        merged = {**row.attributes, **changes[row.subscriber_id]}
        row.attributes = {name: value for name, value in merged.items() if value is not None}
        row.updated_at = at


def masked_numbers(session: Session, subscriber_ids: Iterable[str]) -> dict[str, str]:
    """Masked number of each subscriber that has a row."""
    query = select(Subscriber.subscriber_id, Subscriber.number_masked).where(
        Subscriber.subscriber_id.in_(list(subscriber_ids))
    )
    return {row.subscriber_id: row.number_masked for row in session.execute(query)}


def encrypted_with_another_key(session: Session, key_id: str, limit: int) -> Sequence[Subscriber]:
    """Some rows whose number is not encrypted with this key, locked; those that another process holds are left."""
    query = (
        select(Subscriber).where(Subscriber.key_id != key_id).limit(limit).with_for_update(skip_locked=True)
    )
    return session.scalars(query).all()
