"""What is wrong, before asking why: the symptoms of a fault from what the customer says and what was measured.

A cause has to explain the symptom. So a measured, specific symptom (a 503, a name that does not resolve)
replaces the vague statement it refines ("it fails"), and a cause that cannot bring it about is set aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from demarcation.evidence import EvidenceSet


class Symptom(StrEnum):
    """What a customer sees or a phone measures."""

    STALL = "stall"
    SLOW_START = "slow_start"
    LOW_QUALITY = "low_quality"
    SLOW = "slow"
    FAILS = "fails"
    NO_SERVICE = "no_service"
    OFFLINE = "offline"
    DNS_FAILURE = "dns_failure"
    TCP_FAILURE = "tcp_failure"
    TLS_FAILURE = "tls_failure"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    IOT_SILENT = "iot_silent"


STALL_RATIO_BAD = 0.02
"""Above it a session counts as stalling. Chosen here: between the 2.6 % and 1.6 % means that an operator with
this service published before and after a year of use."""

STALL_MS_BAD = 1_000.0
"""A freeze that a viewer notices. [ms] ETSI TR 101 578 §4.2.2: network freezes last longer than 1–2 s."""

START_DELAY_MS_BAD = 4_000.0
"""Above it a start counts as slow. [ms] Chosen here: half more than the 2.5 s published as a good mean."""

IOT_OVERDUE = 2.0
"""Silent for more than so many of its own contact periods. [1] Chosen here; a sleeping device is not offline."""

_REFINED_BY: Mapping[Symptom, frozenset[Symptom]] = MappingProxyType(
    {
        Symptom.FAILS: frozenset(
            {
                Symptom.DNS_FAILURE,
                Symptom.TCP_FAILURE,
                Symptom.TLS_FAILURE,
                Symptom.HTTP_4XX,
                Symptom.HTTP_5XX,
                Symptom.NO_SERVICE,
            }
        ),
        Symptom.OFFLINE: frozenset({Symptom.DNS_FAILURE, Symptom.TCP_FAILURE, Symptom.NO_SERVICE}),
        Symptom.SLOW: frozenset({Symptom.STALL, Symptom.SLOW_START}),
    }
)


_KNOWN: Mapping[str, Symptom] = MappingProxyType({symptom.value: symptom for symptom in Symptom})


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What the customer stated and what was measured; `all` is what a cause has to explain."""

    stated: Symptom | None
    measured: frozenset[Symptom]
    all: frozenset[Symptom]
    """Measured symptoms and the statement, without what a more specific one refines."""


def derive_symptoms(facts: EvidenceSet, stated: str | None) -> Symptoms:
    """Symptoms of a fault. A statement that is none of ours is kept out: it cannot be explained by rules."""
    found: set[Symptom] = set()
    ratio, stalled = facts.number("player.stall_ratio"), facts.number("player.stall_ms")
    if ratio is not None and ratio > STALL_RATIO_BAD and (stalled is None or stalled >= STALL_MS_BAD):
        found.add(Symptom.STALL)
    delay = facts.number("player.start_delay_ms")
    if delay is not None and delay > START_DELAY_MS_BAD:
        found.add(Symptom.SLOW_START)
    if facts.value("player.failed") is True:
        found.add(Symptom.FAILS)
    for key in ("player.http_status", "probe.service.http_status"):
        status = facts.number(key)
        if status is not None and status >= 400:
            found.add(Symptom.HTTP_5XX if status >= 500 else Symptom.HTTP_4XX)
    if any(facts.value(f"dns.{name}") is True for name in ("private_failed", "operator_failed", "nxdomain")):
        found.add(Symptom.DNS_FAILURE)
    if facts.value("probe.service.tcp_failed") is True:
        found.add(Symptom.TCP_FAILURE)
    if facts.value("probe.service.tls_failed") is True:
        found.add(Symptom.TLS_FAILURE)
    on_wifi = facts.value("status.network_type") == "wifi"
    if facts.value("status.network_type") == "none" or (
        facts.value("status.registered") is False and not on_wifi
    ):
        found.add(Symptom.NO_SERVICE)
    overdue = facts.number("iot.overdue_ratio")
    if overdue is not None and overdue > IOT_OVERDUE:
        found.add(Symptom.IOT_SILENT)
    measured = frozenset(one for one in found if not (_REFINED_BY.get(one, frozenset()) & found))
    known = stated.strip().lower() if stated else ""
    said = _KNOWN.get(known)
    both = measured if said is None else measured | {said}
    return Symptoms(
        said, measured, frozenset(one for one in both if not (_REFINED_BY.get(one, frozenset()) & measured))
    )
