"""How the pages' routes differ from the interfaces': errors are pages, and who is not signed in is sent to sign in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from cem.consoles.forms import form_is_ours
from cem.consoles.headers import PAGE_HEADERS
from cem.consoles.render import Renderer
from cem.consoles.texts import Texts, load_texts
from cem.platform.errors import CemError, Forbidden, Unauthenticated
from cem.platform.security import SESSION_COOKIE, Principal

FRAGMENTS = "/fragments/"


class FormExpired(Forbidden):
    """A form came without the hidden value of its session."""

    slug = "form-expired"


def check_form(request: Request, sent: str) -> None:
    """Refuse a form that does not carry its session's hidden value. Raises FormExpired."""
    if not form_is_ours(request.cookies.get(SESSION_COOKIE, ""), sent):
        raise FormExpired("The form's hidden value does not belong to this session.")


def said_problem(texts: Texts, error: CemError) -> str:
    """Say an error to the reader: their own words for what they can do about, the general one for the rest."""
    general = "unavailable" if error.status in {503, 504} else "internal-error"
    return texts.get(f"error.{error.slug}", texts(f"error.{general}"))


def redirect(path: str) -> RedirectResponse:
    """Go on to a page of ours with GET (RFC 9110 §15.4.4)."""
    return RedirectResponse(path, 303, headers=dict(PAGE_HEADERS))


def page_route(renderer: Renderer) -> type[APIRoute]:
    """Make the class of the pages' routes."""

    class PageRoute(APIRoute):
        """Answers errors with pages."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Wrap the handler so that every error has its page."""
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    return await handle(request)
                except Unauthenticated:
                    return _sign_in_first(request)
                except RequestValidationError:
                    return _problem(renderer, request, "invalid-input", 422)
                except CemError as error:
                    texts = load_texts(renderer.language(request))
                    return renderer.page(
                        request,
                        "error.html",
                        status=error.status,
                        principal=_known(request),
                        problem=said_problem(texts, error),
                    )

            return answer

    return PageRoute


def _sign_in_first(request: Request) -> Response:
    if request.url.path.startswith(FRAGMENTS):
        return Response(status_code=401, headers=dict(PAGE_HEADERS))
    wanted = request.url.path if request.method == "GET" else "/"
    if request.method == "GET" and request.url.query:
        wanted += f"?{request.url.query}"
    return redirect("/login" if wanted == "/" else f"/login?next={quote(wanted, safe='')}")


def _problem(renderer: Renderer, request: Request, slug: str, status: int) -> Response:
    texts = load_texts(renderer.language(request))
    return renderer.page(
        request, "error.html", status=status, principal=_known(request), problem=texts(f"error.{slug}")
    )


def _known(request: Request) -> Principal | None:
    return getattr(request.state, "principal", None)
