"""Requests that no sane client sends, made from a route's own documentation: the same list every time."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

HUGE = 10**400
SURROGATE = "\ud800"
PALETTE: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**31,
    2**63,
    -(2**63) - 1,
    HUGE,
    1e308,
    1.5,
    "",
    "\0",
    "a\0b",
    SURROGATE,
    "￿\x7f\x1b[31m",
    "x" * 5_000,
    "+8613755512345",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-11-22T07:30:00",
    "' OR 1=1 --",
    "{x:String}",
    [],
    {},
    [None],
    [[[]]],
    {"": None},
    {"a" * 300: 1},
    {"\0": "\0"},
)
QUOTED = ("%FF%FE", "%C0%80")
TEXTS = (
    tuple(
        quote(text, safe="", errors="surrogatepass")
        for text in (
            "",
            " ",
            "\0",
            "a\0b",
            SURROGATE,
            "x" * 5_000,
            "-1",
            str(2**63),
            str(2**31),
            "1e999",
            "NaN",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59.999999-14:00",
            "2026-11-22T07:30:00",
            "' OR 1=1 --",
            "{x:String}",
            "../../etc",
            "%s%d%n",
            "null",
            "bad,,,",
            "чжэцзян",
        )
    )
    + QUOTED
)
"""Values of path and query parameters, as they stand in the URL."""

BOMB = gzip.compress(b" " * 50_000_000, compresslevel=1)
"""More, once inflated, than any body may be."""

DEEP = 100_000
BODIES: tuple[bytes, ...] = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b'"x"',
    b"{",
    b'{"id":',
    b"[" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"[" * DEEP + b"]" * DEEP,
    b'[null,1,"x",[],{}]',
    b'{"id": NaN}',
    b'{"id": 1e999, "name": 1e999}',
    b"\xff\xfe\x00\x01",
    b"\x00" * 64,
    bytes(random.Random(7).randbytes(2_000)),
    b'{"name": "\\ud800", "id": "\\udfff", "number": "\\u0000"}',
    b"a=1&b=%00&c=%FF",
    b"e=ps,sta=\n\n\n,,,v=\n",
    b'{"x": "' + b"y" * 300_000 + b'"}',
)
KINDS = (
    "application/json",
    "application/json",
    "application/x-ndjson",
    "application/cmcd",
    "text/plain",
    "application/json; charset=utf-16",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "/",
)


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire; `path` is quoted already."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """An operation of the OpenAPI document."""

    method: str
    path: str
    queries: tuple[str, ...]
    example: Any

    def address(self, values: Mapping[str, str] | None = None, fill: str = "x") -> str:
        """The path with its parameters filled in."""
        path = self.path
        while "{" in path:
            name = path[path.index("{") + 1 : path.index("}")]
            path = path.replace("{" + name + "}", (values or {}).get(name, fill))
        return path


def routes_of(document: Mapping[str, Any]) -> list[Route]:
    """Every operation of an OpenAPI document."""
    return [
        Route(
            method.upper(),
            path,
            tuple(p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"),
            example_of(document, operation.get("requestBody")),
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def resolved(document: Mapping[str, Any], node: Any) -> Any:
    """A node with its reference followed."""
    while isinstance(node, Mapping) and "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def example_of(document: Mapping[str, Any], body: Any) -> Any:
    """A JSON example of a request's body, put together from its schema where none is given whole."""
    for media in (resolved(document, body) or {}).get("content", {}).values():
        if isinstance(media.get("example"), dict | list):
            return media["example"]
        for one in media.get("examples", {}).values():
            if isinstance(one.get("value"), dict | list):
                return one["value"]
        made = _made(document, media.get("schema"), 0)
        if isinstance(made, dict | list):
            return made
    return None


def _made(document: Mapping[str, Any], schema: Any, depth: int) -> Any:
    schema = resolved(document, schema) or {}
    if "example" in schema:
        return schema["example"]
    if schema.get("examples"):
        return schema["examples"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _made(document, schema[name][0], depth)
    if depth < 6 and "properties" in schema:
        return {name: _made(document, part, depth + 1) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_made(document, schema.get("items"), depth + 1)]
    return {"string": "x", "integer": 1, "number": 1.0, "boolean": True}.get(schema.get("type", ""))


def garbage(route: Route, seed: int, variants: int) -> Iterator[Request]:
    """Requests for one route: bad addresses, bad queries, bad bodies, and good ones with one bad member."""
    dice = random.Random(f"{seed} {route.method} {route.path}")
    writes = route.method in {"POST", "PUT", "PATCH"}
    for number in range(variants):
        address = route.address(fill=dice.choice(TEXTS) or "x") if number % 3 == 0 else route.address()
        if route.queries and (not writes or number % 4 == 0):
            asked = dice.sample(route.queries, dice.randint(1, min(3, len(route.queries))))
            address += "?" + "&".join(f"{name}={dice.choice(TEXTS)}" for name in asked)
        if not writes:
            headers = {"Last-Event-ID": "9" * 20} if number % 5 == 0 else {}
            yield Request(route.method, address, headers=headers)
        elif route.example is not None and number % 2:
            body = json.dumps(spoiled(route.example, dice)).encode()
            yield Request(route.method, address, body, {"Content-Type": "application/json"})
        else:
            yield _unreadable(route.method, address, dice)


def _unreadable(method: str, address: str, dice: random.Random) -> Request:
    headers = {"Content-Type": dice.choice(KINDS)}
    body = dice.choice(BODIES)
    match dice.randrange(8):
        case 0:
            headers["Content-Encoding"] = dice.choice(["gzip", "zstd", "br", "gzip, gzip", "x"])
        case 1:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
        case 2:
            headers["Content-Encoding"] = "gzip"
            body = BOMB
        case 3:
            del headers["Content-Type"]
    return Request(method, address, body, headers)


def spoiled(example: Any, dice: random.Random) -> Any:
    """A copy with one to three members replaced, dropped or added."""
    document = copy.deepcopy(example)
    for _ in range(dice.randint(1, 3)):
        holder, key = dice.choice(list(_places(document)))
        if isinstance(holder, dict) and dice.random() < 0.2:
            holder.pop(key)
            holder[dice.choice(["", "\0", "x" * 200, "__proto__"])] = dice.choice(PALETTE)
        else:
            holder[key] = dice.choice(PALETTE)
        if not isinstance(document, dict | list) or not document:
            break
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    steps = list(document.items()) if isinstance(document, dict) else list(enumerate(document))
    for key, value in steps:
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)
