"""Makes every part once and hands it what it needs. The only place that knows who is behind which port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import Self, cast

from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from cem.access import endpoints as access_endpoints
from cem.access.audit import AuditLog
from cem.access.authentication import Authenticator
from cem.access.endpoints import HashingThreads
from cem.access.fingerprints import confirm_keys
from cem.access.passwords import Passwords
from cem.access.service import COMMAND_LINE, AccessService
from cem.access.sessions import SessionService
from cem.access.tokens import DeviceTokens
from cem.app import create_app
from cem.customers import endpoints as customers_endpoints
from cem.customers.ports import NoActivity
from cem.customers.service import CustomersService
from cem.demo.delivery import DemoKeys
from cem.health import Readiness
from cem.platform.clock import Clock, SystemClock
from cem.platform.db import Database
from cem.platform.facts import FactStore, open_facts
from cem.platform.group_commit import GroupCommit
from cem.platform.security import (
    KIND_PERMISSIONS,
    Guard,
    Keyring,
    KeySettings,
    NumberCipher,
    NumberHasher,
    PrincipalKind,
    load_keyring,
)
from cem.platform.settings import Settings
from cem.worker import Job
from sdk_ingest import endpoints as ingest_endpoints
from sdk_ingest.parsing import IngestLimits
from sdk_ingest.service import IngestService
from sdk_ingest.writer import open_writer as open_reports_writer

DEMO_KEY_NAMES = ("demo province feed", "demo province system")


class House:
    """Every part of the service, made when first asked for and closed in the reverse order.

    A command that needs only the operational store (`cem user`) never opens the KQI store.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock(timedelta(seconds=settings.clock_offset_s))
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    # stores and keys

    @cached_property
    def database(self) -> Database:
        """The operational store."""
        database = Database(self.settings.resolved_database_url())
        self._closing.callback(database.close)
        return database

    @cached_property
    def facts(self) -> FactStore:
        """The KQI store."""
        store = open_facts(self.settings.resolved_kqi_url(), cluster=self.settings.kqi_cluster)
        self._closing.callback(store.close)
        return store

    @cached_property
    def keyring(self) -> Keyring:
        """The secret keys, from settings or from files made at first start."""
        given = self.settings
        return load_keyring(
            given.data_dir / "secrets",
            KeySettings(
                number_hash_key=_secret(given.number_hash_key),
                number_cipher_key=_secret(given.number_cipher_key),
                number_cipher_previous_keys=tuple(
                    item.get_secret_value() for item in given.number_cipher_previous_keys
                ),
                token_key=_secret(given.token_key),
                token_previous_keys=tuple(item.get_secret_value() for item in given.token_previous_keys),
            ),
        )

    def check_keys(self) -> None:
        """Refuse keys that do not belong to the stored data. Raises ConfigurationError."""
        confirm_keys(self.database, self.keyring, self.clock)

    # who may

    @cached_property
    def hasher(self) -> NumberHasher:
        """Number → subscriber_id."""
        return NumberHasher(self.keyring.number_hash, self.settings.country_code)

    @cached_property
    def audit(self) -> AuditLog:
        """Who looked at what."""
        return AuditLog(self.database, self.clock)

    @cached_property
    def passwords(self) -> Passwords:
        """How staff passwords are kept."""
        return Passwords()

    @cached_property
    def tokens(self) -> DeviceTokens:
        """Device tokens."""
        return DeviceTokens(self.keyring.token, self.clock, self.keyring.token_previous)

    @cached_property
    def authenticator(self) -> Authenticator:
        """Credential → principal."""
        return Authenticator(self.database, self.clock, self.tokens)

    @cached_property
    def guard(self) -> Guard:
        """Stands before every route."""
        return Guard(self.authenticator)

    @cached_property
    def customers(self) -> CustomersService:
        """Lines and their numbers."""
        return CustomersService(
            self.database,
            self.clock,
            hasher=self.hasher,
            cipher=NumberCipher(self.keyring.number_cipher, self.keyring.number_cipher_previous),
            audit=self.audit,
            activity=NoActivity(),
        )

    @cached_property
    def access(self) -> AccessService:
        """Users, keys and device tokens."""
        return AccessService(
            self.database,
            self.clock,
            self.audit,
            self.passwords,
            tokens=self.tokens,
            subscribers=self.customers,
            forget=self.authenticator.forget,
        )

    @cached_property
    def sessions(self) -> SessionService:
        """Sessions of staff."""
        return SessionService(
            self.database, self.clock, self.audit, self.passwords, forget=self.authenticator.forget
        )

    # what terminals send

    @cached_property
    def ingest_limits(self) -> IngestLimits:
        """Bounds of a body and its items."""
        given = self.settings
        return IngestLimits(
            max_body_bytes=given.max_body_bytes,
            max_inflated_bytes=given.max_inflated_bytes,
            max_items=given.max_items,
            max_depth=given.max_depth,
            late_after=given.late_after,
            future_skew=given.future_skew,
        )

    @cached_property
    def reports_writer(self) -> GroupCommit:
        """The one writer of reports and player events in this process."""
        writer = open_reports_writer(
            self.facts,
            self.clock,
            exclusive=self.settings.embedded_kqi,
            gather_ms=self.settings.commit_delay_ms,
            max_waiting=self.settings.queue_items,
        )
        self._closing.callback(writer.close)
        return writer

    @cached_property
    def ingest(self) -> IngestService:
        """Reports and CMCD."""
        return IngestService(self.reports_writer, self.clock, self.hasher, self.ingest_limits)

    # the whole

    async def start(self) -> None:
        """What has to run before the first request."""

    async def stop(self) -> None:
        """Commit what writers hold, let sources go."""

    def jobs(self) -> list[Job]:
        """What a worker does again and again."""
        return []

    def routers(self) -> list[APIRouter]:
        """Every room's routes."""
        return [
            access_endpoints.build_router(
                self.access, self.sessions, self.audit, HashingThreads(), self.guard
            ),
            customers_endpoints.build_router(self.customers, self.guard),
            ingest_endpoints.build_router(self.ingest, self.guard),
        ]

    def build_app(
        self, lifespan: Callable[[], AbstractAsyncContextManager[None]], *, routes: bool = True
    ) -> FastAPI:
        """The web application; without `routes` only health and metrics."""
        return create_app(
            self.settings,
            self.guard,
            self.routers() if routes else [],
            self.readiness(),
            lifespan,
            static={},
        )

    def readiness(self) -> Readiness:
        """What must answer before traffic should come."""
        return Readiness(
            {
                "operational_store": self.database.ping,
                "kqi_store": lambda: cast(None, self.facts.rows("SELECT 1 AS one", timeout_s=2)),
            }
        )

    # the demo

    @contextmanager
    def demo_keys(self) -> Iterator[DemoKeys]:
        """Keys for the demo province, which end with it; those that a killed demo left end first."""
        for key in self.access.list_keys(limit=1000):
            if key.name in DEMO_KEY_NAMES and key.revoked_at is None:
                self.access.revoke_key(COMMAND_LINE, key.id)
        made = [
            self.access.create_key(COMMAND_LINE, name, kind, KIND_PERMISSIONS[kind])
            for name, kind in zip(DEMO_KEY_NAMES, (PrincipalKind.FEED, PrincipalKind.SYSTEM), strict=True)
        ]
        try:
            yield DemoKeys(feed=made[0].secret, system=made[1].secret)
        finally:
            for item in made:
                self.access.revoke_key(COMMAND_LINE, item.key.id)


def _secret(value: SecretStr) -> str | None:
    return value.get_secret_value() or None
