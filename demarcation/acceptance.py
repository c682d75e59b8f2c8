"""Before a check runs: whose line it is, whose keys it came with, and what its snapshot alone tells. No I/O."""

from __future__ import annotations

from cem.platform.errors import Forbidden, InvalidInput
from cem.platform.security import SUBSCRIBER_ID_PATTERN, Principal, PrincipalKind
from demarcation.casefile import CaseFile
from demarcation.models import SelfCheck
from demarcation.ports import NumberIdentity
from demarcation.requests import CheckRequest
from demarcation.settings import SelfCheckSettings
from demarcation.snapshot import evidence_from_snapshot
from demarcation.vantage import evidence_from_settings


def line_of(principal: Principal, request: CheckRequest, identity: NumberIdentity) -> str:
    """The subscriber_id that a request is about.

    Raises
    ------
    Forbidden
        A device asked for a line that is not its own.
    InvalidInput
        Nobody was named, or what was given is no number or no subscriber_id.
    """
    named = None
    if request.number is not None:
        try:
            named = identity(request.number)
        except InvalidInput as error:
            raise InvalidInput(error.detail, pointer=request.pointer) from None
    if principal.kind is PrincipalKind.DEVICE:
        assert principal.subscriber_id is not None
        wanted = named or request.subscriber_id or principal.subscriber_id
        if wanted != principal.subscriber_id:
            raise Forbidden("A device checks its own line; leave the number out.")
        return principal.subscriber_id
    if named is not None:
        return named
    if request.subscriber_id is None:
        raise InvalidInput(
            "Say whose line it is: `subscriber` (a number) in the snapshot, or `subscriber_id`.",
            pointer=request.pointer,
        )
    if not SUBSCRIBER_ID_PATTERN.fullmatch(request.subscriber_id):
        raise InvalidInput("This is no subscriber_id.", pointer="/subscriber_id")
    return request.subscriber_id


def caller_of(principal: Principal) -> str:
    """Whose idempotency keys these are: a line's for a device (its token changes), else the caller's."""
    return f"{principal.kind.value}:{principal.subscriber_id or principal.id}"


def initial_case(check: SelfCheck, settings: SelfCheckSettings) -> CaseFile:
    """The case file that the snapshot alone gives."""
    at = check.fault_at
    evidence = evidence_from_snapshot(
        check.snapshot,
        at=at,
        received_at=check.accepted_at,
        lowest_app_versions=settings.lowest_app_versions or None,
    )
    return CaseFile(
        at=at,
        service=check.service,
        stated=check.stated,
        dimensions=dict(check.dimensions),
        evidence=(*evidence, *evidence_from_settings(settings.provisioned_apns, at)),
    )
