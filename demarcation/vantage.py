"""Evidence out of what others know: this line's recent samples, open orders, settings, other systems' answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from demarcation.evidence import Evidence, Origin, Quality, make_evidence, order_key
from demarcation.ports import CoveringOrder, LineSample
from kqi.catalogue import is_bad

WEAK_RSRP_DBM = -110.0
"""Below it a reading counts as weak. [dBm] The project's demarcation notes, starting thresholds."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "line.syn_synack_ms": ("tcp_setup_server_ms", "syn_synack_ms", "tcp_server_rtt_ms"),
    "line.synack_ack_ms": ("tcp_setup_user_ms", "synack_ack_ms", "tcp_user_rtt_ms"),
    "line.retransmission_ratio": ("retransmission_ratio",),
    "line.loss_ratio": ("loss_ratio",),
    "radio.prb_load_pct": ("prb_load_pct",),
}
_CLOUD_ALIASES: Mapping[str, tuple[str, ...]] = {
    "line.cloud_first_byte_ms": ("first_byte_ms",),
    "line.cloud_origin_ms": ("origin_ms",),
    "line.cloud_cache_hit_ratio": ("cache_hit_ratio", "cache_hit"),
    "line.cloud_error_ratio": ("http_5xx_ratio", "error_ratio"),
}
_MEAN_OF = frozenset(
    {"line.cloud_cache_hit_ratio", "line.cloud_error_ratio", "line.retransmission_ratio", "line.loss_ratio"}
)
_LARGEST = 200


def evidence_from_line(samples: Sequence[LineSample], service: str, at: datetime) -> tuple[Evidence, ...]:
    """What the line's recent samples say, medians of delays and means of shares.

    Samples after `at` are left out: a fact has to precede the fault it explains. Of another service only the pipe
    is read: its path is the same one.
    """
    usable = [
        sample
        for sample in samples
        if sample.observed_at <= at
        and (sample.vantage == "pipe" or sample.service in {"", service} or not service)
    ][:_LARGEST]
    collected: list[tuple[str, float, list[LineSample]]] = []
    pipe = [sample for sample in usable if sample.vantage == "pipe"]
    cloud = [sample for sample in usable if sample.vantage == "cloud"]
    for key, names in _ALIASES.items():
        collected += _over(key, names, pipe)
    for key, names in _CLOUD_ALIASES.items():
        collected += _over(key, names, cloud)
    rsrp = [(s.values["rsrp_dbm"], s) for s in usable if "rsrp_dbm" in s.values]
    if rsrp:
        weak = sum(1 for value, _ in rsrp if value < WEAK_RSRP_DBM) / len(rsrp)
        collected.append(("line.weak_share", round(weak, 6), [sample for _, sample in rsrp]))
    judged = [
        (bad, s) for s in usable if (bad := is_bad(s.service or service, s.vantage, s.values)) is not None
    ]
    if judged:
        share = sum(1 for bad, _ in judged if bad) / len(judged)
        mine = [sample for _, sample in judged]
        collected += [("line.samples", float(len(judged)), mine), ("line.bad_share", round(share, 6), mine)]
    return _made(
        make_evidence(
            key,
            value,
            origin=Origin.LINE,
            observed_at=max(sample.observed_at for sample in of),
            received_at=max(sample.received_at for sample in of),
            at=at,
        )
        for key, value, of in collected
    )


def _over(
    key: str, names: Sequence[str], samples: Sequence[LineSample]
) -> list[tuple[str, float, list[LineSample]]]:
    found = [
        (sample.values[name], sample)
        for sample in samples
        if (name := next((one for one in names if one in sample.values), ""))
    ]
    if not found:
        return []
    values = [value for value, _ in found]
    figure = sum(values) / len(values) if key in _MEAN_OF else median(values)
    return [(key, round(figure, 6), [sample for _, sample in found])]


def evidence_from_orders(orders: Sequence[CoveringOrder], at: datetime) -> tuple[Evidence, ...]:
    """One fact per cause that an open order covers, and how many orders do. Open orders are facts of now."""
    facts = [("orders.count", float(len(orders)))] + [
        (key, True) for key in sorted({order_key(order.cause) for order in orders})
    ]
    return _made(
        make_evidence(key, value, origin=Origin.ORDERS, observed_at=at, received_at=at, at=at)
        for key, value in facts
    )


def evidence_from_settings(provisioned_apns: Sequence[str], at: datetime) -> tuple[Evidence, ...]:
    """What the operator configured for everybody; an answer about this very line goes before it."""
    if not provisioned_apns:
        return ()
    return _made(
        [
            make_evidence(
                "account.apns",
                list(provisioned_apns),
                origin=Origin.SETTINGS,
                observed_at=at,
                received_at=at,
                at=at,
                quality=Quality.CONFIGURED,
            )
        ]
    )


def evidence_from_upstream(
    name: str, answer: Mapping[str, Any], fields: Mapping[str, str], *, received_at: datetime, at: datetime
) -> tuple[Evidence, ...]:
    """What another system said, by the configured mapping (evidence key → JSON pointer into its answer).

    A value of another type than the key's is not read. The system speaks of now, so it is observed when received,
    but never after the fault's moment as a check sees it.
    """
    return _made(
        make_evidence(
            key,
            resolve_pointer(answer, pointer),
            origin=f"upstream:{name}",
            observed_at=min(received_at, at),
            received_at=received_at,
            at=at,
        )
        for key, pointer in sorted(fields.items())
    )


def resolve_pointer(document: Any, pointer: str) -> Any:
    """The value a JSON pointer (RFC 6901) names; None where there is none."""
    found = document
    for token in pointer.split("/")[1:] if pointer else []:
        token = token.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901 - the token, unescaped
        if isinstance(found, Mapping) and token in found:
            found = found[token]
        elif isinstance(found, list) and token.isdigit() and int(token) < len(found):
            found = found[int(token)]
        else:
            return None
    return found


def _made(facts: Iterable[Evidence | None]) -> tuple[Evidence, ...]:
    return tuple(fact for fact in facts if fact is not None)
