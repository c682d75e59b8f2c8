"""All that a verdict is decided from, as one value, and its plain form: the bundle that replays it.

Two forms are read. The stored one carries evidence as it stood. The raw one carries what came in
(`{"snapshot", "peers", "samples", "upstreams", "orders", "at"}`) and goes through the same extraction as a live check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demarcation.evidence import Evidence, Quality
from demarcation.peers import PeerCounts
from demarcation.ports import LineSample, OpenOrderRef
from demarcation.snapshot import dimensions_of, evidence_from_snapshot, parse_time
from demarcation.vantage import (
    evidence_from_line,
    evidence_from_orders,
    evidence_from_settings,
    evidence_from_upstream,
)
from demarcation.verdict import MissingSource

BUNDLE_FORMAT = 1
"""Version of the stored form."""


class BundleError(ValueError):
    """A bundle that cannot be read; its text says where and why."""


@dataclass(frozen=True)
class CaseFile:
    """Input of `decide`. `at` is the fault's moment; `orders` are those that cover it, as documents."""

    at: datetime
    service: str
    stated: str
    dimensions: Mapping[str, str]
    evidence: tuple[Evidence, ...]
    peers: tuple[PeerCounts, ...] = ()
    orders: tuple[Mapping[str, Any], ...] = ()
    missing: tuple[MissingSource, ...] = ()

    def document(self) -> dict[str, Any]:
        """JSON values; `read_casefile` gives an equal case file back."""
        return {
            "at": _instant(self.at),
            "service": self.service,
            "stated": self.stated,
            "dimensions": dict(self.dimensions),
            "evidence": [
                {
                    "key": fact.key,
                    "value": fact.value,
                    "unit": fact.unit,
                    "origin": fact.origin,
                    "observed_at": _instant(fact.observed_at),
                    "received_at": _instant(fact.received_at),
                    "quality": fact.quality.value,
                    "freshness": fact.freshness,
                }
                for fact in self.evidence
            ],
            "peers": [
                {
                    "dimension": one.dimension,
                    "value": one.value,
                    "users": one.users,
                    "bad_users": one.bad_users,
                    "baseline_users": one.baseline_users,
                    "baseline_bad_users": one.baseline_bad_users,
                }
                for one in self.peers
            ],
            "orders": [dict(order) for order in self.orders],
            "missing": [
                {"source": one.source, "reason": one.reason, "budget_ms": one.budget_ms}
                for one in self.missing
            ],
        }


def read_casefile(document: Mapping[str, Any]) -> CaseFile:
    """The case file of a stored bundle.

    Raises
    ------
    BundleError
        Naming what is missing or of the wrong kind.
    """
    try:
        return CaseFile(
            at=_time(document["at"], "at"),
            service=str(document.get("service", "")),
            stated=str(document.get("stated", "")),
            dimensions={str(k): str(v) for k, v in dict(document.get("dimensions", {})).items()},
            evidence=tuple(_evidence(item) for item in document["evidence"]),
            peers=read_peers(document.get("peers", ())),
            orders=tuple(dict(order) for order in document.get("orders", ())),
            missing=tuple(
                MissingSource(str(one["source"]), str(one["reason"]), int(one["budget_ms"]))
                for one in document.get("missing", ())
            ),
        )
    except BundleError:
        raise
    except KeyError as error:
        raise BundleError(f"the bundle has no {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"the bundle is not of the stored form: {error}") from error


def casefile_from_raw(
    document: Mapping[str, Any],
    *,
    provisioned_apns: Sequence[str] = (),
    lowest_app_versions: Mapping[str, str] | None = None,
) -> CaseFile:
    """The case file of a raw bundle: `snapshot` and `at`, and where known `peers`, `samples`, `orders`, `upstreams`.

    `upstreams` holds evidence by upstream name: `{"billing": {"account.status": "arrears"}}`.

    Raises
    ------
    BundleError
        Naming what is missing or of the wrong kind.
    """
    snapshot = document.get("snapshot")
    if not isinstance(snapshot, Mapping):
        raise BundleError("the bundle has no 'snapshot' object")
    at = _time(document.get("at", snapshot.get("observed_at")), "at")
    service = str(document.get("service") or snapshot.get("service") or "")
    try:
        samples = [read_sample(item) for item in document.get("samples", ())]
        orders = [_order(item, at) for item in document.get("orders", ())]
        answers = {str(name): dict(answer) for name, answer in dict(document.get("upstreams", {})).items()}
        peers = read_peers(document.get("peers", ()))
    except BundleError:
        raise
    except KeyError as error:
        raise BundleError(f"the bundle lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"the bundle is not of the raw form: {error}") from error
    evidence = [
        *evidence_from_snapshot(snapshot, at=at, received_at=at, lowest_app_versions=lowest_app_versions),
        *evidence_from_settings(provisioned_apns, at),
        *evidence_from_line(samples, service, at),
        *(evidence_from_orders(orders, at) if "orders" in document else ()),
    ]
    for name, answer in sorted(answers.items()):
        fields = {key: "/" + key.replace("~", "~0").replace("/", "~1") for key in answer}
        evidence += evidence_from_upstream(name, answer, fields, received_at=at, at=at)
    return CaseFile(
        at=at,
        service=service,
        stated=str(document.get("symptom") or snapshot.get("symptom") or ""),
        dimensions=dimensions_of(snapshot),
        evidence=tuple(evidence),
        peers=peers,
        orders=tuple(order_document(order) for order in orders),
    )


def order_document(order: Any) -> dict[str, Any]:
    """A covering order as the verdict shows it."""
    return {
        "order_id": order.order_id,
        "number": order.number,
        "cause": order.cause,
        "domain": order.domain,
        "scope": dict(order.scope),
        "opened_at": _instant(order.opened_at),
        "affected": order.affected,
    }


def read_peers(items: Any) -> tuple[PeerCounts, ...]:
    """Peer counts from JSON values. Raises KeyError, TypeError or ValueError."""
    return tuple(
        PeerCounts(
            str(item["dimension"]),
            str(item["value"]),
            int(item["users"]),
            int(item["bad_users"]),
            int(item.get("baseline_users", 0)),
            int(item.get("baseline_bad_users", 0)),
        )
        for item in items
    )


def read_sample(item: Mapping[str, Any]) -> LineSample:
    """A sample from JSON values. Raises KeyError, TypeError, ValueError or BundleError."""
    observed_at = _time(item["observed_at"], "samples/observed_at")
    values = item.get("values") or item.get("indicators") or {}
    return LineSample(
        vantage=str(item["vantage"]),
        service=str(item.get("service", "")),
        observed_at=observed_at,
        received_at=_time(item.get("received_at", item["observed_at"]), "samples/received_at"),
        values={str(name): float(value) for name, value in dict(values).items()},
        labels={str(name): str(value) for name, value in dict(item.get("labels", {})).items()},
    )


def _order(item: Mapping[str, Any], at: datetime) -> OpenOrderRef:
    return OpenOrderRef(
        str(item.get("order_id", "")),
        str(item.get("number", "")),
        str(item["cause"]),
        str(item.get("domain", "")),
        dict(item.get("scope", {})),
        _time(item["opened_at"], "orders/opened_at") if "opened_at" in item else at,
        int(item.get("affected", 0)),
    )


def _evidence(item: Mapping[str, Any]) -> Evidence:
    value = item["value"]
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return Evidence(
        str(item["key"]),
        value,
        str(item["unit"]),
        str(item["origin"]),
        _time(item["observed_at"], "evidence/observed_at"),
        _time(item["received_at"], "evidence/received_at"),
        Quality(item["quality"]),
        float(item["freshness"]),
    )


def _time(value: Any, where: str) -> datetime:
    parsed = parse_time(value)
    if parsed is None:
        raise BundleError(f"{where!r} is no RFC 3339 time with an offset")
    return parsed


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
