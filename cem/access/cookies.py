"""The cookie that carries a staff session to the web pages."""

from __future__ import annotations

from datetime import datetime

from starlette.responses import Response

from cem.platform.security import SESSION_COOKIE


def set_session_cookie(response: Response, token: str, expires_at: datetime, *, secure: bool) -> None:
    """Give the browser the session: no script reads it, no other site's request carries it."""
    response.set_cookie(
        SESSION_COOKIE,
        token,
        expires=expires_at,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def clear_session_cookie(response: Response, *, secure: bool) -> None:
    """Take the session from the browser (and end it in the store: `SessionService.logout`)."""
    response.delete_cookie(SESSION_COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
