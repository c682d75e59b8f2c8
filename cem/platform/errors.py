"""The whole exception tree of the service, and how it looks on the wire.

Every error that a caller may see is a `CemError`; the app turns it into problem details (RFC 9457).
Nothing personal goes into `detail`: it is shown, logged and kept.

    CemError
    ├─ MalformedBody 400      ├─ Conflict 409             ├─ TooManyRequests 429
    ├─ Unauthenticated 401    ├─ Gone 410                 ├─ InternalError 500
    ├─ Forbidden 403          ├─ PreconditionFailed 412   ├─ Unavailable 503
    ├─ NotFound 404           ├─ PayloadTooLarge 413      └─ DeadlineExceeded 504
    │                         ├─ UnsupportedMedia 415
    └─ ConfigurationError     └─ InvalidInput 422
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

PROBLEM_MEDIA_TYPE = "application/problem+json"


class CemError(Exception):
    """Root of what this service raises.

    Parameters
    ----------
    detail
        One or two sentences for a person: what is wrong and what to do next. No personal data.
    pointer
        JSON pointer (RFC 6901) to the offending place of the request body.
    retry_after_s
        When a client should come back. [s]
    extra
        Further members of the problem object; JSON-able.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The service could not do this"

    def __init__(
        self, detail: str, *, pointer: str | None = None, retry_after_s: int | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.retry_after_s = retry_after_s
        self.extra = extra

    def problem(self) -> dict[str, Any]:
        """The problem object (RFC 9457 §3.1); `type` is relative to the service."""
        members: dict[str, Any] = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.pointer is not None:
            members["pointer"] = self.pointer
        return members | self.extra

    def headers(self) -> Mapping[str, str]:
        """Headers that belong to the answer."""
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


class MalformedBody(CemError):  # noqa: N818 - the names say the state, the root says that it is an error
    """The body cannot be read at all (not JSON, not UTF-8, a broken archive)."""

    status, slug, title = 400, "malformed-body", "The body cannot be read"


class Unauthenticated(CemError):  # noqa: N818
    """No credentials, or none that hold."""

    status, slug, title = 401, "unauthenticated", "Credentials are missing or not valid"

    def headers(self) -> Mapping[str, str]:
        """Names the scheme (RFC 9110 §11.6.1)."""
        return {**super().headers(), "WWW-Authenticate": 'Bearer realm="cem"'}


class Forbidden(CemError):  # noqa: N818
    """Known caller, not allowed."""

    status, slug, title = 403, "forbidden", "This caller may not do this"


class NotFound(CemError):  # noqa: N818
    """No such thing, or none that this caller may know of."""

    status, slug, title = 404, "not-found", "There is no such thing"


class Conflict(CemError):  # noqa: N818
    """The state of the thing does not allow it now."""

    status, slug, title = 409, "conflict", "The current state does not allow this"


class Gone(CemError):  # noqa: N818
    """It was there and is no longer."""

    status, slug, title = 410, "gone", "This is no longer there"


class PreconditionFailed(CemError):  # noqa: N818
    """Somebody else changed it first (If-Match, version)."""

    status, slug, title = 412, "precondition-failed", "It was changed in between"


class PayloadTooLarge(CemError):  # noqa: N818
    """A bound on size or count is exceeded."""

    status, slug, title = 413, "payload-too-large", "The body is larger than allowed"


class UnsupportedMedia(CemError):  # noqa: N818
    """Content type or content encoding is not one of those taken."""

    status, slug, title = 415, "unsupported-media", "This content type or encoding is not taken"


class InvalidInput(CemError):  # noqa: N818
    """Readable, but its content is not valid."""

    status, slug, title = 422, "invalid-input", "The content is not valid"


class TooManyRequests(CemError):  # noqa: N818
    """A limit per caller is reached."""

    status, slug, title = 429, "too-many-requests", "Too many requests"


class InternalError(CemError):
    """Ours; the log has the cause under the request id."""


class Unavailable(CemError):  # noqa: N818
    """A store or a queue cannot take it now; nothing was accepted."""

    status, slug, title = 503, "unavailable", "Temporarily not available"


class DeadlineExceeded(CemError):  # noqa: N818
    """It was not done in the time given."""

    status, slug, title = 504, "deadline-exceeded", "Not done in the time given"


class FactStoreError(Unavailable):
    """The KQI store refused or failed."""

    slug = "kqi-store-unavailable"
    title = "The KQI store is not available"


class ConfigurationError(CemError):
    """A setting is wrong; the process does not start."""

    slug, title = "configuration", "A setting is wrong"
