"""One viewing in the demo province, from the phone's settings down to the origin server.

Pure. Puts a subscriber, a moment and the faults of that moment together, measures radio and path, lets the player
run, and keeps what each of the three vantage points could see. `cem.demo.wire` writes it as the service reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from cem.demo.faults import Effects, Fault, Mistake, effects_on, mistake_of
from cem.demo.physics import RadioLink, queue_delay_ms, radio_link, tcp_rate_kbps
from cem.demo.player import Connection, Viewing, watch
from cem.demo.world import Cell, Node, Source, Subscriber, World

DNS_TIMEOUT_MS = 5000.0
CONNECT_TIMEOUT_MS = 10_000.0
OFFLINE = frozenset({Mistake.AIRPLANE_MODE, Mistake.MOBILE_DATA_OFF, Mistake.WRONG_APN, Mistake.SIM_FAILED})
"""Mistakes that leave no connection over the mobile network at all."""


@dataclass(frozen=True, slots=True)
class Path:
    """What lies between phone and picture, measured. None: it was never reached. Times in ms, rates in kbit/s."""

    dns_ms: float | None
    dns_error: str
    user_rtt_ms: float  # SYN-ACK → ACK at the core probe
    server_rtt_ms: float  # SYN → SYN-ACK at the core probe
    loss: float
    tls_ms: float | None
    tls_error: str
    first_byte_ms: float | None
    http_status: int
    rate_kbps: float
    access_kbps: float  # what the way to anywhere carries, the node left out
    cache_hit: bool
    origin_ms: float
    node_load: float

    @property
    def connects(self) -> bool:
        """Tell whether a connection to the node came about."""
        return not self.dns_error and self.first_byte_ms is not None


@dataclass(frozen=True, slots=True)
class Session:
    """One viewing with everything measured of it."""

    id: str
    subscriber: Subscriber
    cell: Cell
    source: Source
    node: Node
    started_at: datetime
    ended_at: datetime
    mistake: Mistake | None
    link: RadioLink
    path: Path
    viewing: Viewing

    @property
    def over_cellular(self) -> bool:
        """Tell whether the viewing went over the mobile network."""
        return self.mistake is not Mistake.WEAK_WIFI

    @property
    def reached_core(self) -> bool:
        """Tell whether the mobile core saw any packet of it."""
        return self.over_cellular and self.mistake not in OFFLINE

    @property
    def reached_node(self) -> bool:
        """Tell whether the CDN node saw a request."""
        return self.path.connects

    @property
    def symptom(self) -> str:
        """Say what its viewer would complain of; empty where all is well."""
        viewing = self.viewing
        if self.mistake in OFFLINE:
            return "offline"
        if viewing.error_code or viewing.start_delay_ms is None:
            return "fails"
        if viewing.start_delay_ms > 4500:
            return "slow_start"
        if viewing.stall_count and viewing.stall_ms > 0.06 * (viewing.stall_ms + viewing.play_ms):
            return "stall"
        return ""


def view(world: World, faults: Sequence[Fault], rng: Random, session_id: str, ended_at: datetime) -> Session:
    """Generate one viewing that ends at `ended_at`, under the faults active then."""
    subscriber = world.subscribers[rng.randrange(len(world.subscribers))]
    return view_of(world, faults, rng, session_id, ended_at, subscriber)


def view_of(
    world: World,
    faults: Sequence[Fault],
    rng: Random,
    session_id: str,
    ended_at: datetime,
    subscriber: Subscriber,
    *,
    corrected: bool = False,
) -> Session:
    """Generate one viewing of a given subscriber; `corrected` leaves the phone's own mistake out."""
    cell = world.cell_by_id[subscriber.cells[0 if rng.random() < 0.7 else 1]]
    source = world.pick_source(rng)
    node = world.pick_node(rng, source, subscriber.city)
    dims = dimensions(subscriber, cell, source, node)
    mistake = None if corrected else mistake_of(world, faults, subscriber.index, dims, ended_at)
    effects = effects_on(faults, dims)
    link = radio_link(rng, cell, subscriber.distance, subscriber.indoor_loss_db, effects.radio)
    path = _path(rng, effects, link, source, node, mistake)
    wanted_ms = rng.uniform(20_000.0, 110_000.0)
    speed = world.model_by_id[subscriber.model].speed
    viewing = watch(rng, _connection(rng, effects, path, mistake, speed), wanted_ms)
    return Session(
        id=session_id,
        subscriber=subscriber,
        cell=cell,
        source=source,
        node=node,
        started_at=ended_at - timedelta(milliseconds=round(viewing.length_ms)),
        ended_at=ended_at,
        mistake=mistake,
        link=link,
        path=path,
        viewing=viewing,
    )


def dimensions(subscriber: Subscriber, cell: Cell, source: Source, node: Node) -> dict[str, str]:
    """Give the dimension values that decide whether a fault covers a viewing."""
    return {
        "city": subscriber.city,
        "area": cell.area,
        "cell": cell.id,
        "gateway": cell.gateway,
        "source": source.id,
        "node": node.id,
        "model": subscriber.model,
        "app_version": subscriber.app_version,
    }


def _path(
    rng: Random, effects: Effects, link: RadioLink, source: Source, node: Node, mistake: Mistake | None
) -> Path:
    load = effects.node_load if effects.node_load is not None else node.utilisation
    # an origin in trouble cannot renew what the nodes hold: more of it must be asked for again
    cache_hit = rng.random() >= (source.miss_share + 0.4 if effects.origin_delay_ms else source.miss_share)
    if mistake in OFFLINE:
        return _unreached("", cache_hit, load)
    dns_ms, dns_error = _look_up(rng, effects, link, mistake)
    user_rtt = link.delay_ms + rng.uniform(2.0, 12.0)
    loss = min(0.5, link.loss + effects.gateway_loss)
    server_rtt = rng.uniform(4.0, 14.0) + effects.gateway_delay_ms * rng.uniform(0.6, 1.4)
    server_rtt += queue_delay_ms(0.4, load, 120.0)
    access = link.rate_kbps
    if mistake is Mistake.VPN:
        server_rtt += rng.uniform(140.0, 320.0)
        access = min(access, rng.uniform(350.0, 1100.0))
    if mistake is Mistake.WEAK_WIFI:
        user_rtt = rng.uniform(60.0, 400.0)
        loss = rng.uniform(0.03, 0.12)
        access = rng.uniform(250.0, 1200.0)
    access = min(access, tcp_rate_kbps(user_rtt + server_rtt, loss * rng.uniform(0.5, 1.2)))
    rate = min(access, 60_000.0 * (1.0 - load) / rng.uniform(1.0, 2.2))
    if dns_error:
        return Path(
            dns_ms,
            dns_error,
            user_rtt,
            server_rtt,
            loss,
            None,
            "",
            None,
            0,
            rate,
            access,
            cache_hit,
            0.0,
            load,
        )
    round_trip = (user_rtt + server_rtt) * (1.0 + 4.0 * loss)
    if mistake is Mistake.CLOCK_WRONG:
        error = "certificate_not_yet_valid"
        return Path(
            dns_ms, "", user_rtt, server_rtt, loss, None, error, None, 0, rate, access, cache_hit, 0.0, load
        )
    origin_ms = (
        0.0 if cache_hit else rng.uniform(60.0, 180.0) + effects.origin_delay_ms * rng.uniform(0.7, 1.3)
    )
    first_byte = round_trip + queue_delay_ms(14.0, load, 4000.0) * rng.expovariate(1.0) + origin_ms
    return Path(
        dns_ms=dns_ms,
        dns_error="",
        user_rtt_ms=user_rtt,
        server_rtt_ms=server_rtt,
        loss=loss,
        tls_ms=2.0 * round_trip + rng.uniform(5.0, 25.0),
        tls_error="",
        first_byte_ms=first_byte,
        http_status=_status(rng, effects, cache_hit),
        rate_kbps=rate,
        access_kbps=access,
        cache_hit=cache_hit,
        origin_ms=origin_ms,
        node_load=load,
    )


def _unreached(dns_error: str, cache_hit: bool, load: float) -> Path:
    return Path(None, dns_error, 0.0, 0.0, 0.0, None, "", None, 0, 0.0, 0.0, cache_hit, 0.0, load)


def _look_up(rng: Random, effects: Effects, link: RadioLink, mistake: Mistake | None) -> tuple[float, str]:
    if mistake is Mistake.PRIVATE_DNS:
        return DNS_TIMEOUT_MS, "timeout"
    if effects.dns_fail_share and rng.random() < effects.dns_fail_share:
        return DNS_TIMEOUT_MS, "timeout"
    slow = effects.dns_delay_ms * rng.uniform(0.4, 1.2) if effects.dns_delay_ms else 0.0
    return link.delay_ms + rng.uniform(3.0, 18.0) + slow, ""


def _status(rng: Random, effects: Effects, cache_hit: bool) -> int:
    if effects.node_error_share and rng.random() < effects.node_error_share:
        return rng.choice((500, 502, 503, 503))
    if not cache_hit and effects.origin_error_share and rng.random() < effects.origin_error_share:
        return 504
    return 200


def _connection(
    rng: Random, effects: Effects, path: Path, mistake: Mistake | None, speed: float
) -> Connection:
    if mistake in OFFLINE:
        return Connection(
            setup_ms=rng.uniform(300.0, 900.0), rate_kbps=0.0, chunk_wait_ms=0.0, fail_code="no_network"
        )
    if path.dns_error:
        return Connection(
            setup_ms=DNS_TIMEOUT_MS * 2, rate_kbps=0.0, chunk_wait_ms=0.0, fail_code="name_not_resolved"
        )
    if path.tls_error:
        return Connection(setup_ms=900.0, rate_kbps=0.0, chunk_wait_ms=0.0, fail_code="tls_failed")
    dns_ms, tls_ms, first_byte = path.dns_ms or 0.0, path.tls_ms or 0.0, path.first_byte_ms or 0.0
    handshake = path.user_rtt_ms + path.server_rtt_ms
    # player and manifest first, then the first chunk: the server answers twice
    setup = speed * rng.uniform(140.0, 300.0) + dns_ms + handshake + tls_ms + 2.0 * first_byte
    if path.http_status >= 500:
        return Connection(setup, 0.0, 0.0, fail_code="http_error", fail_status=path.http_status)
    if effects.app_fail_share and rng.random() < effects.app_fail_share:
        if rng.random() < 0.6:
            return Connection(setup, 0.0, 0.0, fail_code="decoder_failed")
        setup += effects.app_start_ms * rng.uniform(0.7, 1.3)
    hold_share, hold_ms = _hold_up(mistake)
    wait = first_byte if not path.cache_hit else min(first_byte, path.user_rtt_ms + path.server_rtt_ms)
    return Connection(
        setup_ms=setup,
        rate_kbps=path.rate_kbps if math.isfinite(path.rate_kbps) else 60_000.0,
        chunk_wait_ms=wait,
        fail_share=effects.node_error_share * 0.15,
        fail_code="http_error",
        fail_status=503,
        hold_up_share=hold_share,
        hold_up_ms=hold_ms,
    )


def _hold_up(mistake: Mistake | None) -> tuple[float, float]:
    match mistake:
        case Mistake.POWER_SAVE:
            return 0.55, 900.0
        case Mistake.OVERHEATED:
            return 0.6, 1100.0
        case Mistake.MEMORY_LOW:
            return 0.4, 1500.0
        case _:
            return 0.0, 0.0
