"""Forms that only our own pages can have sent: hidden values bound to the session, or to a cookie before there is one.

The cookie of the session is SameSite=Strict and `cem.platform.security` refuses other origins already; the hidden
value holds even where a browser does neither.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from cem.platform.security import equal_secrets

LOGIN_COOKIE = "cem_login"
"""Carries the hidden value of the login page, as there is no session to bind it to yet."""

_PURPOSE = b"console form"


def form_token(session_token: str) -> str:
    """Give the hidden value of a session's forms: HMAC-SHA256 keyed with the session's own secret, 128 bits."""
    return hmac.digest(session_token.encode(), _PURPOSE, hashlib.sha256).hex()[:32]


def form_is_ours(session_token: str, sent: str) -> bool:
    """Tell whether a form carries its session's hidden value."""
    return bool(session_token) and equal_secrets(form_token(session_token), sent)


def new_login_token() -> str:
    """Give a fresh hidden value for the login page."""
    return secrets.token_urlsafe(24)


def login_is_ours(cookie: str, sent: str) -> bool:
    """Tell whether the login form carries what its cookie holds."""
    return len(cookie) >= 24 and equal_secrets(cookie, sent)


def local_target(wanted: str) -> str:
    """Give a path on this site to go on to, or the overview for anything else (RFC 3986 §4.2: no authority)."""
    if not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted or not wanted.isprintable():
        return "/"
    parts = urlsplit(wanted)
    if parts.scheme or parts.netloc:
        return "/"
    return parts.path + (f"?{parts.query}" if parts.query else "")
