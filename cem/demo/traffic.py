"""What the demo province sends in any ten seconds of its life, ready for the wire.

Pure: a slot's traffic follows from the seed, the slot and the faults alone, and so do the ids in it. A province
that is started again sends the same items again for the hour before, and the service finds that it has them.
A higher rate adds items to a slot and leaves the first ones as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from cem.demo import things, wire
from cem.demo.chance import seeded
from cem.demo.faults import Fault, active
from cem.demo.sessions import Session, view, view_of
from cem.demo.wire import Document, timestamp
from cem.demo.world import World

SLOT = timedelta(seconds=10)
CHECK_PAUSE = timedelta(minutes=20)
"""A customer taps the self-check at most once in such a stretch."""
TAP_SHARE = {"offline": 0.6, "fails": 0.35, "slow_start": 0.22, "stall": 0.22}
"""Share of customers who tap the self-check when hit so; chosen here, generously, so that there is much to see."""
IDLE_TAP_SHARE = 0.001
"""Share of well-served viewings after which somebody tries the button out."""
COMPLAINT_SHARE = 0.25
CORRECTION_SHARE = 0.5
"""Share of customers with a mistake on the phone who follow the advice and check again."""


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """A customer who taps the button: when, with which snapshot, and what they do about the answer."""

    id: str
    number: str
    install_id: str
    at: datetime
    snapshot: Document
    complains: bool
    corrected: Document | None


@dataclass(slots=True)
class Batch:
    """Everything of a stretch of time, by where it is sent."""

    reports: list[Document] = field(default_factory=list)
    pipe: list[Document] = field(default_factory=list)
    cloud: list[Document] = field(default_factory=list)
    iot: list[Document] = field(default_factory=list)
    checks: list[SelfCheck] = field(default_factory=list)

    def add(self, other: Batch) -> None:
        """Take another batch's items in."""
        self.reports += other.reports
        self.pipe += other.pipe
        self.cloud += other.cloud
        self.iot += other.iot
        self.checks += other.checks


def slot_of(at: datetime) -> datetime:
    """Give the start of the slot a moment lies in."""
    seconds = SLOT.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, tz=UTC)


def slots(since: datetime, until: datetime) -> Iterator[datetime]:
    """Give the slots that begin in `[since, until)`."""
    slot = slot_of(since)
    if slot < since:
        slot += SLOT
    while slot < until:
        yield slot
        slot += SLOT


def slot_traffic(world: World, faults: Sequence[Fault], slot: datetime, sessions: int) -> Batch:
    """Generate one slot: `sessions` viewings that end in it, and the things whose turn it is.

    Parameters
    ----------
    faults
        A schedule that holds every fault of the slot.
    sessions
        Viewings in the slot. [1]
    """
    batch = Batch()
    for number in range(sessions):
        rng = seeded(world.seed, round(slot.timestamp()), number)
        ended_at = slot + SLOT * rng.random()
        _add_session(world, active(faults, ended_at), rng, ended_at, batch)
    for device, at in things.due(world, slot, slot + SLOT):
        rng = seeded(world.seed, "thing", device.index, round(at.timestamp()))
        contact = things.contact(world, active(faults, at), rng, device, at)
        batch.iot.append(things.sample(contact, _uuid(rng), timestamp(at)))
    batch.checks.sort(key=lambda check: check.at)
    return batch


def _add_session(
    world: World, faults: Sequence[Fault], rng: Random, ended_at: datetime, batch: Batch
) -> None:
    session = view(world, faults, rng, _uuid(rng), ended_at)
    batch.reports.append(wire.report(session, rng, _uuid(rng)))
    pipe = wire.pipe_sample(session, _uuid(rng))
    if pipe is not None:
        batch.pipe.append(pipe)
    cloud = wire.cloud_sample(session, _uuid(rng))
    if cloud is not None:
        batch.cloud.append(cloud)
    check = _self_check(world, faults, session)
    if check is not None:
        batch.checks.append(check)


def _self_check(world: World, faults: Sequence[Fault], session: Session) -> SelfCheck | None:
    """Tell whether this customer taps the button after this viewing, and what follows."""
    symptom = session.symptom
    subscriber = session.subscriber
    stretch = int(session.ended_at.timestamp() // CHECK_PAUSE.total_seconds())
    rng = seeded(world.seed, "check", subscriber.index, stretch, "hit" if symptom else "idle")
    check_id = _uuid(rng)  # one per customer and stretch: a second tap is the same tap
    if rng.random() >= TAP_SHARE.get(symptom, IDLE_TAP_SHARE):
        return None
    at = session.ended_at + timedelta(seconds=rng.uniform(1.0, 6.0))
    corrected: Document | None = None
    if session.mistake is not None and rng.random() < CORRECTION_SHARE:
        later = at + timedelta(seconds=rng.uniform(40.0, 120.0))
        after = view_of(world, faults, rng, _uuid(rng), later, subscriber, corrected=True)
        corrected = wire.snapshot(after, rng, _uuid(rng), later, after.symptom)
    return SelfCheck(
        id=check_id,
        number=subscriber.number,
        install_id=subscriber.install_id,
        at=at,
        snapshot=wire.snapshot(session, rng, check_id, at, symptom),
        complains=bool(symptom) and session.mistake is None and rng.random() < COMPLAINT_SHARE,
        corrected=corrected,
    )


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
