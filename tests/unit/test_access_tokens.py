"""Device tokens: what this service signed, for devices, in time; nothing else."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from cem.access import tokens as tokens_module
from cem.access.tokens import ALGORITHM, AUDIENCE, ISSUER, DeviceTokens
from cem.platform.errors import InvalidInput, Unauthenticated
from cem.platform.security import Key, Permission, PrincipalKind
from tests.conftest import FakeClock

KEY, OTHER = Key(b"k" * 32), Key(b"o" * 32)
LINE_A = "s_" + "a" * 32
LINE_B = "s_" + "b" * 32


@pytest.fixture
def tokens(clock: FakeClock) -> DeviceTokens:
    return DeviceTokens(KEY, clock)


def _claims(clock: FakeClock, **changes: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": LINE_A,
        "kind": "device",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _signed(claims: dict[str, Any], key: Key = KEY, **header: Any) -> str:
    return jwt.encode(
        {"alg": ALGORITHM, "kid": KEY.id.hex(), **header},
        claims,
        OctKey.import_key(key.secret),
        algorithms=["HS256", "HS384", "HS512"],
    )


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _refused(tokens: DeviceTokens, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(token)
    assert LINE_A not in caught.value.detail
    return caught.value.detail


def test_a_minted_token_speaks_for_its_line_only(tokens: DeviceTokens, clock: FakeClock) -> None:
    minted = tokens.mint(LINE_A, 600, "install-1")
    principal = tokens.verify(minted.token)
    assert principal.kind is PrincipalKind.DEVICE
    assert principal.subscriber_id == LINE_A
    assert principal.install_id == "install-1"
    assert principal.permissions == {Permission.REPORTS_WRITE, Permission.SELF_CHECK}
    assert not principal.covers(LINE_B)
    assert minted.expires_at == clock.now().replace(microsecond=0) + timedelta(seconds=600)


def test_the_hand_made_token_of_these_tests_is_taken(tokens: DeviceTokens, clock: FakeClock) -> None:
    """So that the refusals below are for the reason each names."""
    assert tokens.verify(_signed(_claims(clock))).subscriber_id == LINE_A


def test_a_token_ends_also_when_it_is_remembered(tokens: DeviceTokens, clock: FakeClock) -> None:
    token = tokens.mint(LINE_A, 60).token
    tokens.verify(token)
    clock.advance(timedelta(seconds=64))
    tokens.verify(token)  # within the leeway between clocks
    clock.advance(timedelta(seconds=2))
    assert _refused(tokens, token) == "the device token has expired"
    assert _refused(DeviceTokens(KEY, clock), token) == "the device token has expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "another"},
        {"iss": None},
        {"aud": "cem-staff"},
        {"aud": None},
        {"aud": [AUDIENCE, "another"]},
        {"kind": "staff"},
        {"kind": None},
        {"sub": "administrator"},
        {"sub": LINE_A + "\n"},
        {"sub": 7},
        {"sub": None},
        {"exp": None},
        {"exp": "4102444800"},
        {"exp": True},
        {"iat": None},
        {"nbf": None},
        {"install_id": 7},
    ],
)
def test_a_wrong_claim_is_refused(tokens: DeviceTokens, clock: FakeClock, changes: dict[str, Any]) -> None:
    assert _refused(tokens, _signed(_claims(clock, **changes))) == "the device token is not valid"


def test_times_are_checked_even_under_a_right_signature(tokens: DeviceTokens, clock: FakeClock) -> None:
    now = int(clock.now().timestamp())
    _refused(tokens, _signed(_claims(clock, nbf=now + 60)))
    _refused(tokens, _signed(_claims(clock, iat=now + 60, exp=now + 600)))
    _refused(tokens, _signed(_claims(clock, exp=now + 3601)))  # lives longer than anything minted here
    _refused(tokens, _signed(_claims(clock, iat=now - 7200, nbf=now - 7200, exp=now - 3600)))


def test_forgeries_are_refused(tokens: DeviceTokens, clock: FakeClock) -> None:
    claims = _claims(clock)
    good = _signed(claims)
    head, body, signature = good.split(".")
    elliptic = ECKey.generate_key("P-256")
    forged = {
        "another key": _signed(claims, OTHER),
        "unknown key id": _signed(claims, kid="00000000"),
        "no key id": f"{_part({'alg': 'HS256'})}.{body}.{signature}",
        "no algorithm": f"{_part({'alg': 'none', 'kid': KEY.id.hex()})}.{body}.",
        "no algorithm, signature kept": f"{_part({'alg': 'none', 'kid': KEY.id.hex()})}.{body}.{signature}",
        "another algorithm": _signed(claims, alg="HS512"),
        "an asymmetric one": jwt.encode(
            {"alg": "ES256", "kid": KEY.id.hex()}, claims, elliptic, algorithms=["ES256"]
        ),
        "another line under an old signature": f"{head}.{_part({**claims, 'sub': LINE_B})}.{signature}",
        "signature cut": f"{head}.{body}.{signature[:-4]}",
        "signature missing": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "not a token": "hello",
        "not even text": "\x00\u4e2d\u6587..",
        "five parts": f"{good}.x.y",
        "body is a list": f"{head}.{base64.urlsafe_b64encode(b'[]').decode()}.{signature}",
        "embedded key": jwt.encode(
            {"alg": "HS256", "jwk": OctKey.import_key(OTHER.secret).as_dict()},
            claims,
            OctKey.import_key(OTHER.secret),
        ),
    }
    assert {name: _refused(tokens, token) for name, token in forged.items()} == dict.fromkeys(
        forged, "the device token is not valid"
    )


def test_a_previous_key_still_verifies_until_it_is_dropped(clock: FakeClock) -> None:
    token = DeviceTokens(KEY, clock).mint(LINE_A, 600).token
    assert DeviceTokens(OTHER, clock, previous=(KEY,)).verify(token).subscriber_id == LINE_A
    _refused(DeviceTokens(OTHER, clock), token)


def test_what_is_remembered_is_bounded(tokens: DeviceTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "REMEMBERED_TOKENS", 3)
    minted = [tokens.mint(LINE_A, 600).token for _ in range(10)]
    for token in minted:
        tokens.verify(token)
    assert len(tokens._verified) == 3
    assert all(tokens.verify(token) for token in minted)


@pytest.mark.parametrize("ttl_s", [-1, 0, 29, 3601])
def test_a_life_out_of_bounds_is_refused(tokens: DeviceTokens, ttl_s: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        tokens.mint(LINE_A, ttl_s)
    assert caught.value.pointer == "/ttl_s"
