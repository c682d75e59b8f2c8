"""How the demo province's viewings are written on the wire: device reports, pipe and cloud samples, snapshots.

Pure. Only what the vantage point could know goes into each form: the phone tells its settings, radio and player;
the core probe the two halves of the round trip; the node what it served. None of them tells the fault.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

from cem.demo.faults import Mistake
from cem.demo.sessions import DNS_TIMEOUT_MS, OFFLINE, Session
from cem.demo.world import APN, PROVINCE, Subscriber

Document = dict[str, Any]

RESOLVER = "dns.yunze.example"
PRIVATE_RESOLVER = "family-filter.example"
REFERENCE = "reference.yunze.example"
REFERENCE_MS = 5.0  # what the reference host takes to answer
FASTEST_KBPS = 150_000.0  # the province's fastest plan
WRONG_APN = "cmwap"


def timestamp(at: datetime) -> str:
    """Write an aware UTC datetime as reports do, to the millisecond."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def place(session: Session) -> Document:
    """Say where the viewing was, as the phone knows it."""
    where = {"province": PROVINCE, "city": session.subscriber.city}
    if not session.over_cellular:
        return where | {"rat": "WIFI"}
    return where | {
        "area": session.cell.area,
        "cell": session.cell.id,
        "rat": session.cell.rat.value,
        "gateway": session.cell.gateway,
    }


def device(subscriber: Subscriber) -> Document:
    """Say what phone it is."""
    return {
        "model": subscriber.model,
        "os": subscriber.os,
        "os_version": subscriber.os_version,
        "app_version": subscriber.app_version,
        "device_type": "phone",
    }


def provisioned(subscriber: Subscriber) -> Document:
    """Write what the operator's systems have set on a line."""
    return {"number": subscriber.number, "attributes": {"provisioned_apn": APN}}


def report(session: Session, rng: Random, report_id: str) -> Document:
    """Write what the phone's SDK sends when the viewing is over, for the feed that collects reports of many lines."""
    return {
        "id": report_id,
        "observed_at": timestamp(session.ended_at),
        "subscriber": session.subscriber.number,
        "install_id": session.subscriber.install_id,
        "service": "video",
        "session_id": session.id,
        "place": place(session),
        "device": device(session.subscriber),
        "settings": settings(session, rng),
        "status": status(session, rng),
        **_radio(session),
        "probes": probes(session),
        "player": player(session, events=True),
    }


def snapshot(session: Session, rng: Random, check_id: str, at: datetime, symptom: str) -> Document:
    """Write what the self-check button sends: the phone as it stands, and the last viewing's figures."""
    body: Document = {
        "id": check_id,
        "observed_at": timestamp(at),
        "install_id": session.subscriber.install_id,
        "service": "video",
        "session_id": session.id,
        "place": place(session),
        "device": device(session.subscriber),
        "settings": settings(session, rng),
        "status": status(session, rng),
        **_radio(session),
        "probes": probes(session),
        "player": player(session, events=False),
    }
    if symptom:
        body["symptom"] = symptom
    return body


def settings(session: Session, rng: Random) -> Document:
    """Write the phone's settings: what its mistake set, and the habits that do no harm."""
    mistake = session.mistake
    usual_private_dns = rng.choices(("off", "auto", "dns.public.example"), weights=(50, 47, 3))[0]
    return {
        "airplane_mode": mistake is Mistake.AIRPLANE_MODE,
        "mobile_data": mistake is not Mistake.MOBILE_DATA_OFF,
        "apn": WRONG_APN if mistake is Mistake.WRONG_APN else APN,
        "vpn": mistake is Mistake.VPN,
        "proxy": False,
        "private_dns": PRIVATE_RESOLVER if mistake is Mistake.PRIVATE_DNS else usual_private_dns,
        "data_saver": rng.random() < 0.05,
        "power_save": mistake is Mistake.POWER_SAVE or rng.random() < 0.03,
        "background_restricted": rng.random() < 0.04,
        "nr_enabled": rng.random() < 0.93,
        "volte_enabled": rng.random() < 0.95,
    }


def status(session: Session, rng: Random) -> Document:
    """Write the phone's state."""
    mistake = session.mistake
    detached = mistake in (Mistake.AIRPLANE_MODE, Mistake.SIM_FAILED)
    document: Document = {
        "sim_state": "failed" if mistake is Mistake.SIM_FAILED else "ready",
        "registered": not detached,
        "roaming": False,
        "battery_pct": rng.randint(5, 20) if mistake is Mistake.POWER_SAVE else rng.randint(12, 100),
        "thermal": "severe"
        if mistake is Mistake.OVERHEATED
        else rng.choices(("none", "light"), weights=(9, 1))[0],
        "memory_free_mb": rng.randint(40, 130) if mistake is Mistake.MEMORY_LOW else rng.randint(500, 4200),
        "storage_free_mb": rng.randint(900, 64_000),
        "clock_offset_ms": _clock_offset_ms(mistake, rng),
        "captive_portal": False,
        "network_type": "none" if mistake in OFFLINE else "cellular" if session.over_cellular else "wifi",
    }
    if mistake is Mistake.WEAK_WIFI:
        document["wifi_rssi_dbm"] = rng.randint(-90, -83)
    if mistake is Mistake.WRONG_APN:
        document["nas_cause"] = {"esm": 27}
    return document


def _clock_offset_ms(mistake: Mistake | None, rng: Random) -> int:
    if mistake is Mistake.CLOCK_WRONG:
        return round(-timedelta(days=rng.randint(200, 800)).total_seconds() * 1000)
    return rng.randint(-900, 900)


def _radio(session: Session) -> Document:
    if session.mistake in (Mistake.AIRPLANE_MODE, Mistake.SIM_FAILED) or not session.over_cellular:
        return {}
    link = session.link
    return {
        "radio": {
            "rsrp_dbm": round(link.rsrp_dbm, 1),
            "rsrq_db": round(link.rsrq_db, 1),
            "sinr_db": round(link.sinr_db, 1),
            "neighbour_rsrp_dbm": [round(max(-140.0, level), 1) for level in link.neighbours_dbm],
        }
    }


def probes(session: Session) -> list[Document]:
    """Write what the SDK's own probes measured towards resolver, reference host and node.

    The reference host lies in the operator's own network and is asked by its address.
    """
    if session.mistake in OFFLINE:
        return []
    path = session.path
    private = session.mistake is Mistake.PRIVATE_DNS
    resolver: Document = {
        "host": PRIVATE_RESOLVER if private else RESOLVER,
        "role": "resolver",
        "resolver": "private" if private else "operator",
        "dns_ms": round(path.dns_ms if path.dns_ms is not None else DNS_TIMEOUT_MS, 1),
    }
    if path.dns_error:
        resolver["dns_error"] = path.dns_error
    round_trip_ms = path.user_rtt_ms + path.server_rtt_ms
    reference: Document = {
        "host": REFERENCE,
        "role": "reference",
        "tcp_ms": round(round_trip_ms, 1),
        "first_byte_ms": round(round_trip_ms * (1 + 4 * path.loss) + REFERENCE_MS, 1),
        "http_status": 200,
        "throughput_kbps": round(min(path.access_kbps, FASTEST_KBPS)),
        "loss_ratio": round(path.loss, 4),
    }
    if path.dns_error:
        return [resolver, reference]
    node: Document = {
        "host": f"{session.node.id}.cdn.example",
        "role": "node",
        "dns_ms": resolver["dns_ms"],
        "resolver": "operator",
        "tcp_ms": round(round_trip_ms, 1),
        "loss_ratio": round(path.loss, 4),
    }
    if path.tls_error:
        return [resolver, reference, node | {"tls_error": path.tls_error}]
    node |= {
        "tls_ms": round(path.tls_ms or 0.0, 1),
        "first_byte_ms": round(path.first_byte_ms or 0.0, 1),
        "http_status": path.http_status,
        "throughput_kbps": round(path.rate_kbps),
    }
    return [resolver, reference, node]


def player(session: Session, *, events: bool) -> Document:
    """Write the viewing as the player tells it: its figures, and its time line where asked for."""
    viewing = session.viewing
    figures: Document = {
        "stall_ms": round(viewing.stall_ms),
        "play_ms": round(viewing.play_ms),
        "stall_count": viewing.stall_count,
    }
    if viewing.start_delay_ms is not None:
        figures |= {"start_delay_ms": round(viewing.start_delay_ms), "bitrate_kbps": viewing.bitrate_kbps}
    if viewing.error_code:
        figures["error_code"] = viewing.error_code
    if viewing.http_status:
        figures["http_status"] = viewing.http_status
    document: Document = {
        "source": session.source.id,
        "node": session.node.id,
        "content_id": f"{session.source.id}-{session.subscriber.index % 97:02d}",
        "figures": figures,
    }
    if events:
        document["events"] = [
            {
                "kind": event.kind,
                "at": timestamp(session.started_at + timedelta(milliseconds=event.offset_ms)),
                "sequence": sequence,
                **event.values,
            }
            for sequence, event in enumerate(viewing.events)
        ]
    return document


def _sample(session: Session, sample_id: str, values: Document, labels: Document) -> Document:
    return {
        "id": sample_id,
        "observed_at": timestamp(session.ended_at),
        "subscriber": session.subscriber.number,
        "service": "video",
        "session_id": session.id,
        "dimensions": place(session) | {"source": session.source.id, "node": session.node.id},
        "values": values,
        "labels": labels,
    }


def pipe_sample(session: Session, sample_id: str) -> Document | None:
    """Write what the probe in the mobile core saw; None where no packet came past it."""
    if not session.reached_core or session.mistake is Mistake.PRIVATE_DNS:
        return None
    path = session.path
    values: Document = {
        "dns_ms": round(path.dns_ms or 0.0, 1),
        "dns_success_ratio": 0.0 if path.dns_error else 1.0,
        "prb_load_pct": round(session.link.load * 100, 1),
    }
    if not path.dns_error:
        values |= {
            "tcp_setup_server_ms": round(path.server_rtt_ms, 1),
            "tcp_setup_user_ms": round(path.user_rtt_ms, 1),
            "rtt_ms": round(path.server_rtt_ms + path.user_rtt_ms, 1),
            "loss_ratio": round(path.loss, 4),
            "retransmission_ratio": round(min(1.0, path.loss * 1.1), 4),
            "throughput_kbps": round(path.rate_kbps),
        }
    if path.first_byte_ms is not None:
        values["first_byte_ms"] = round(path.first_byte_ms, 1)
    return _sample(session, sample_id, values, {})


def cloud_sample(session: Session, sample_id: str) -> Document | None:
    """Write what the CDN node logged; None where no request reached it."""
    path = session.path
    if not session.reached_node:
        return None
    served_ms = (path.first_byte_ms or 0.0) - path.user_rtt_ms - path.server_rtt_ms
    values: Document = {
        "first_byte_ms": round(max(1.0, served_ms), 1),
        "http_4xx_ratio": 0.0,
        "http_5xx_ratio": 1.0 if path.http_status >= 500 or session.viewing.http_status >= 500 else 0.0,
        "cache_hit_ratio": 1.0 if path.cache_hit else 0.0,
        "node_load_pct": round(path.node_load * 100, 1),
    }
    if not path.cache_hit:
        values["origin_ms"] = round(path.origin_ms, 1)
    return _sample(session, sample_id, values, {"cache": "hit" if path.cache_hit else "miss"})
