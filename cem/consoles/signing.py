"""Signing in and out."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from cem.access.cookies import clear_session_cookie, set_session_cookie
from cem.access.endpoints import HashingThreads, address_of
from cem.consoles.forms import LOGIN_COOKIE, local_target, login_is_ours, new_login_token
from cem.consoles.ports import Logins
from cem.consoles.render import Renderer
from cem.consoles.routing import check_form, redirect
from cem.consoles.texts import load_texts
from cem.platform.aio import run_blocking
from cem.platform.errors import TooManyRequests, Unauthenticated
from cem.platform.security import SESSION_COOKIE, Guard, check_same_origin

LOGIN_COOKIE_S = 3600
"""How long a login page may be left open. [s]"""


def add_signing(
    router: APIRouter,
    renderer: Renderer,
    logins: Logins,
    hashing: HashingThreads,
    guard: Guard,
    public: Any,
    *,
    secure_cookies: bool,
) -> None:
    """Add the routes of the login page and of signing out to the pages' router."""

    def login_page(
        request: Request,
        *,
        next_path: str,
        name: str = "",
        problem: str = "",
        note: str = "",
        status: int = 200,
    ) -> Response:
        token = new_login_token()
        answer = renderer.page(
            request,
            "login.html",
            status=status,
            login_token=token,
            next=next_path,
            name=name,
            problem=problem,
            note=note,
        )
        answer.set_cookie(
            LOGIN_COOKIE,
            token,
            max_age=LOGIN_COOKIE_S,
            path="/login",
            secure=secure_cookies,
            httponly=True,
            samesite="strict",
        )
        return answer

    @router.get("/login", dependencies=[public])
    async def login_form(request: Request, next: str = "/", out: bool = False) -> Response:  # noqa: A002 - the parameter's name in the address
        target = local_target(next)
        try:
            await guard.principal(request)
        except Unauthenticated:
            note = load_texts(renderer.language(request))("login.signed_out") if out else ""
            return login_page(request, next_path=target, note=note)
        return redirect(target)

    @router.post("/login", dependencies=[public])
    async def login(
        request: Request,
        name: Annotated[str, Form(max_length=64)],
        password: Annotated[str, Form(max_length=256)],
        form: Annotated[str, Form(max_length=200)] = "",
        next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the field's name in the form
    ) -> Response:
        check_same_origin(request)
        texts = load_texts(renderer.language(request))
        target = local_target(next)
        if not login_is_ours(request.cookies.get(LOGIN_COOKIE, ""), form):
            return login_page(
                request, next_path=target, name=name, problem=texts("login.expired"), status=403
            )
        address = address_of(request)
        try:
            opened = await hashing.run(lambda: logins.login(name, password, address))
        except Unauthenticated:
            return login_page(request, next_path=target, name=name, problem=texts("login.failed"), status=401)
        except TooManyRequests as error:
            problem = texts("login.too_many", wait=error.retry_after_s or 60)
            return login_page(request, next_path=target, name=name, problem=problem, status=429)
        answer = redirect(target)
        set_session_cookie(answer, opened.token, opened.expires_at, secure=secure_cookies)
        answer.delete_cookie(LOGIN_COOKIE, path="/login")
        return answer

    @router.post("/logout", dependencies=[public])
    async def logout(request: Request, form: Annotated[str, Form(max_length=200)] = "") -> Response:
        check_same_origin(request)
        token = request.cookies.get(SESSION_COOKIE, "")
        if token:
            check_form(request, form)
            await run_blocking(logins.logout, token)
        answer = redirect("/login?out=true")
        clear_session_cookie(answer, secure=secure_cookies)
        return answer
