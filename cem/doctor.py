"""`cem doctor`: looks at an installation as its operator would, and says what to do about each finding."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cem import migrating
from cem.platform.errors import CemError
from cem.platform.settings import Settings
from cem.wiring import House

LEAST_FREE_BYTES = 2 * 1024**3
"""Free space below which it complains. Chosen here: a day of a small province's facts and merges."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything; a failure of one does not keep the others from being looked at."""
    yield Finding("settings", True, f"{len(settings.model_fields_set)} set, the rest by default")
    yield _look("data folder", lambda: _data_folder(settings))
    yield _look("free space", lambda: _free_space(settings))
    yield _look("keys", lambda: _keys(settings))
    yield _look("operational store", lambda: _operational(settings))
    yield _look("KQI store", lambda: _kqi(settings))
    yield _look("rules", lambda: _rules(settings))
    yield _look("clock", lambda: _clock(settings))
    yield _look("port", lambda: _port(settings))


def _look(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except CemError as error:
        return Finding(name, False, error.detail)
    except Exception as error:  # the edge of a look: the finding carries the cause
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _data_folder(settings: Settings) -> str:
    folder = settings.data_dir
    if not folder.exists():
        return f"{folder} is made at first start"
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written; give it to the service's user")
    return str(folder)


def _free_space(settings: Settings) -> str:
    folder = settings.data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise OSError(f"{free / 1024**3:.1f} GiB free in {folder}; free some, or facts will be refused")
    return f"{free / 1024**3:.1f} GiB"


def _keys(settings: Settings) -> str:
    if not (settings.data_dir / "secrets").exists() and not settings.number_hash_key.get_secret_value():
        return "made at first start"
    with House(settings) as house:
        house.check_keys()
    return "readable, and the ones that the stored numbers were made with"


def _operational(settings: Settings) -> str:
    with House(settings) as house:
        house.database.ping()
    at, head = migrating.operational_revisions(settings)
    if at != head:
        raise RuntimeError(f"at {at or 'nothing'}, newest is {head}; run cem migrate")
    return f"{house.database.dialect} answers, at {at}"


def _kqi(settings: Settings) -> str:
    with House(settings) as house:
        pending = migrating.pending_facts(house.facts)
    if pending:
        raise RuntimeError(f"{len(pending)} migrations to apply; run cem migrate")
    return f"{'embedded' if settings.embedded_kqi else 'server'} answers, migrations applied"


def _rules(settings: Settings) -> str:
    from demarcation.rules import load_rules  # noqa: PLC0415 - a look of its own

    rules = load_rules(settings.rules_file)
    return f"{len(rules.rules)} rules, version {rules.version}"


def _clock(settings: Settings) -> str:
    if settings.clock_offset_s:
        raise RuntimeError(f"clock_offset_s is {settings.clock_offset_s}: for rehearsals only")
    return "the machine's own"


def _port(settings: Settings) -> str:
    if settings.port == 0:
        return "a free one is taken"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise OSError(
                f"{settings.host}:{settings.port} is taken or not ours ({error.strerror})"
            ) from error
    return f"{settings.host}:{settings.port} is free"
