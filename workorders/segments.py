"""Which segment of the delivery chain each cause of the taxonomy lies in, as data.

A cause that is not listed falls to its domain: it is still one cause in one place, only less exactly placed.
A test holds this table against the taxonomy, so that no cause gets there unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from workorders.scope import Segment

_BY_SEGMENT: Mapping[Segment, tuple[str, ...]] = {
    Segment.RADIO: ("weak_coverage", "radio_interference", "cell_congestion", "cell_fault"),
    Segment.CORE: ("core_failure", "apn_provisioning_fault"),
    Segment.TRANSPORT: ("transport_fault",),
    Segment.RESOLVER: ("operator_dns_failure",),
    Segment.CDN_NODE: ("cdn_node_fault", "cdn_overload"),
    # Name and certificate are the source's, and its owner mends them.
    Segment.ORIGIN: ("origin_slow", "origin_errors", "domain_nxdomain", "certificate_invalid"),
    Segment.APP_SERVER: ("app_server_errors", "content_refused"),
    Segment.APP_RELEASE: ("app_release_fault",),
    Segment.IOT_PLATFORM: ("iot_platform_fault",),
    Segment.DEVICE_MODEL: ("device_model_fault",),
    # A roaming restriction is the line's subscription: the next line in the same cell has another one.
    Segment.ACCOUNT: ("account_arrears", "account_barred", "quota_throttled", "roaming_restricted"),
}

CAUSE_SEGMENTS: Mapping[str, Segment] = MappingProxyType(
    {cause: segment for segment, causes in _BY_SEGMENT.items() for cause in causes}
)
"""Segment of every cause that can hit more than one customer, and of those that lie in the account."""

DOMAIN_SEGMENTS: Mapping[str, Segment] = MappingProxyType(
    {"network": Segment.NETWORK, "platform": Segment.PLATFORM, "terminal": Segment.TERMINAL}
)
"""Segment of any other cause, by the verdict's domain."""


def segment_of(cause: str, domain: str) -> Segment:
    """The segment a cause lies in; `NONE` where the verdict names no side (undetermined, no fault)."""
    if domain not in DOMAIN_SEGMENTS:
        return Segment.NONE
    return CAUSE_SEGMENTS.get(cause, DOMAIN_SEGMENTS[domain])


FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "origin_slow": "origin",
        "origin_errors": "origin",
        "cdn_node_fault": "cdn_node",
        "cdn_overload": "cdn_node",
    }
)
"""Causes that are two faces of one fault: a server that fails is slow to some and answers 5xx to others. They
share an order. Chosen here, from what one broken origin or node does to different customers."""


def family_of(cause: str) -> str:
    """What a cause is grouped as: its family, else itself."""
    return FAMILIES.get(cause, cause)
