"""Wire forms of the customers' routes. A number travels in bodies only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cem.customers.service import FoundCustomer, Upserted

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"  # PostgreSQL stores no NUL, and nobody reads the others
Number = Annotated[str, Field(min_length=1, max_length=64, examples=["+8613812345678"], repr=False)]
AttributeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
AttributeValue = (
    Annotated[str, StringConstraints(max_length=200, pattern=_PRINTABLE)] | bool | int | float | None
)


class LookupRequest(BaseModel):
    """Whom to look up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"number": "+8613812345678"}]})

    number: Number = Field(description="With or without country code and separators.")


class LatestAnswer(BaseModel):
    """What was last heard of the line; null where never."""

    self_check_id: str | None
    verdict_id: str | None
    self_checked_at: datetime | None
    reported_at: datetime | None


class CustomerAnswer(BaseModel):
    """A line, without its number."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "subscriber_id": "s_3f0c9a6d5be14c2f8a7710c2b4de9f01",
                    "number_masked": "+86138****5678",
                    "attributes": {"plan": "5g-199", "provisioned_apn": "cmnet"},
                    "known_since": "2026-11-22T07:30:00Z",
                    "latest": {
                        "self_check_id": "chk_01kaxm2v6q3m8d1v5z0c9r7t4y",
                        "verdict_id": "ver_01kaxm2v9r0a1b2c3d4e5f6g7h",
                        "self_checked_at": "2026-11-22T07:41:12Z",
                        "reported_at": "2026-11-22T07:41:11Z",
                    },
                }
            ]
        }
    )

    subscriber_id: str = Field(description="Keyed hash of the number; what every other route takes.")
    number_masked: str
    attributes: dict[str, AttributeValue]
    known_since: datetime | None = Field(description="When the number was first kept; null where it is not.")
    latest: LatestAnswer

    @classmethod
    def of(cls, found: FoundCustomer) -> CustomerAnswer:
        """The wire form of a look-up's answer."""
        latest = found.latest
        return cls(
            subscriber_id=found.subscriber_id,
            number_masked=found.number_masked,
            attributes=dict(found.attributes),
            known_since=found.known_since,
            latest=LatestAnswer(
                self_check_id=latest.self_check_id,
                verdict_id=latest.verdict_id,
                self_checked_at=latest.self_checked_at,
                reported_at=latest.reported_at,
            ),
        )


class ProvisionedCustomer(BaseModel):
    """What the operator's systems say of one line."""

    model_config = ConfigDict(extra="forbid")

    number: Number
    attributes: dict[AttributeName, AttributeValue] = Field(
        default_factory=dict, max_length=50, description="Kept beside those there; null removes one."
    )


class ProvisionRequest(BaseModel):
    """Lines to create or change."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "customers": [
                        {
                            "number": "+8613812345678",
                            "attributes": {"plan": "5g-199", "provisioned_apn": "cmnet"},
                        }
                    ]
                }
            ]
        },
    )

    customers: list[ProvisionedCustomer] = Field(min_length=1, max_length=1000)


class RejectedAnswer(BaseModel):
    """One item that was not taken."""

    pointer: str
    reason: str


class ProvisionAnswer(BaseModel):
    """How many lines were taken."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"accepted": 1, "created": 1, "rejected": []}]})

    accepted: int
    created: int
    rejected: list[RejectedAnswer]

    @classmethod
    def of(cls, outcome: Upserted) -> ProvisionAnswer:
        """The wire form of a batch's outcome."""
        rejected = [RejectedAnswer(pointer=each.pointer, reason=each.reason) for each in outcome.rejected]
        return cls(accepted=outcome.accepted, created=outcome.created, rejected=rejected)


class RevealRequest(BaseModel):
    """Why a number has to be seen."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "call back on complaint 2026-1187"}]}
    )

    reason: str = Field(
        min_length=1, max_length=500, pattern=_PRINTABLE, description="Goes into the audit log."
    )


class RevealAnswer(BaseModel):
    """A number in clear."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"number": "+8613812345678"}]})

    number: str = Field(repr=False)
