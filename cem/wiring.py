"""Makes every part once and hands it what it needs. The only place that knows who is behind which port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import Self, cast
from zoneinfo import ZoneInfo

import httpx
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from cem.access import endpoints as access_endpoints
from cem.access.audit import AuditLog
from cem.access.authentication import Authenticator
from cem.access.endpoints import HashingThreads
from cem.access.fingerprints import confirm_keys
from cem.access.passwords import Passwords
from cem.access.service import COMMAND_LINE, AccessService
from cem.access.sessions import SessionService
from cem.access.tokens import DeviceTokens
from cem.adapters import AccountSource, Activity, Audit, LaterActivity, Line, Peers, SnapshotReports
from cem.app import create_app
from cem.consoles.adapters import HouseView, RoomDesk, StaffLogins
from cem.consoles.pages import build_router as build_pages_router
from cem.customers import endpoints as customers_endpoints
from cem.customers.service import CustomersService
from cem.demo.delivery import DemoKeys
from cem.health import Readiness
from cem.place_names import name_book
from cem.platform.aio import Bulkhead, run_blocking
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
from cem.platform.settings import Settings, UpstreamSettings
from cem.platform.web import CollectorCors, ObservedRequests
from cem.worker import Job
from demarcation import endpoints as demarcation_endpoints
from demarcation.gather import Source
from demarcation.rules import RuleSet, load_rules
from demarcation.service import SelfCheckService
from demarcation.settings import SelfCheckSettings
from demarcation.sources import POOL_THREADS, LineSource, OrdersSource, PeersSource
from demarcation.sweeper import SelfCheckSweeper
from demarcation.taxonomy import Taxonomy, load_taxonomy
from demarcation.upstreams import AT_ONCE, Upstream, UpstreamSource
from demarcation.verdict_reading import VerdictReading
from kqi import endpoints as kqi_endpoints
from kqi.anomaly_job import AnomalyJob
from kqi.cubes import CubeJob
from kqi.rollup import RollupJob
from kqi.service import KqiLimits, KqiService
from kqi.session_job import SessionJob
from kqi.writer import open_samples_writer
from sdk_ingest import endpoints as ingest_endpoints
from sdk_ingest.lane import PATH as REPORTS_PATH
from sdk_ingest.lane import ReportsLane
from sdk_ingest.parsing import IngestLimits
from sdk_ingest.service import IngestService
from sdk_ingest.writer import open_writer as open_reports_writer
from workorders import endpoints as workorders_endpoints
from workorders.closing import WindowCloser
from workorders.open_orders import OpenOrders
from workorders.order_service import OrderService
from workorders.policy import PolicySettings
from workorders.service import CaseService

DEMO_KEY_NAMES = ("demo province feed", "demo province system")


class House:
    """Every part of the service, made when first asked for and closed in the reverse order.

    A command that needs only the operational store (`cem user`) never opens the KQI store.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock(timedelta(seconds=settings.clock_offset_s))
        self._closing = ExitStack()
        self._upstream_clients: list[httpx.AsyncClient] = []

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
            activity=LaterActivity(lambda: Activity(self.verdicts, self.kqi, self.clock)),
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
    def hashing(self) -> HashingThreads:
        """Where passwords are hashed."""
        threads = HashingThreads()
        self._closing.callback(threads.close)
        return threads

    @cached_property
    def sessions(self) -> SessionService:
        """Sessions of staff."""
        return SessionService(
            self.database, self.clock, self.audit, self.passwords, forget=self.authenticator.forget
        )

    def _writer(self, open_writer: Callable[..., GroupCommit]) -> GroupCommit:
        """A room's group commit, by the house's settings, closed with the house."""
        writer = open_writer(
            self.facts,
            self.clock,
            exclusive=self.settings.embedded_kqi,
            gather_ms=self.settings.commit_delay_ms,
            max_waiting=self.settings.queue_items,
        )
        self._closing.callback(writer.close)
        return writer

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
        return self._writer(open_reports_writer)

    @cached_property
    def ingest(self) -> IngestService:
        """Reports and CMCD."""
        return IngestService(self.reports_writer, self.clock, self.hasher, self.ingest_limits)

    # indicators

    @cached_property
    def samples_writer(self) -> GroupCommit:
        """The one writer of samples in this process."""
        return self._writer(open_samples_writer)

    @cached_property
    def kqi(self) -> KqiService:
        """Samples in; sessions, cubes and peers out."""
        given = self.settings
        limits = KqiLimits(
            max_body_bytes=given.max_body_bytes,
            max_inflated_bytes=given.max_inflated_bytes,
            max_items=given.max_items,
            late_after=given.late_after,
            future_skew=given.future_skew,
        )
        service = KqiService(
            self.facts, self.clock, commits=self.samples_writer, hash_number=self.hasher, limits=limits
        )
        self._closing.callback(service.close)
        return service

    # which side

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """Causes."""
        return load_taxonomy()

    @cached_property
    def rules(self) -> RuleSet:
        """The rule set in force."""
        return load_rules(self.settings.rules_file, self.taxonomy)

    @cached_property
    def self_check_settings(self) -> SelfCheckSettings:
        """Deadlines and limits of self-checks."""
        given = self.settings
        return SelfCheckSettings(
            default_deadline_s=given.self_check_deadline_s,
            longest_deadline_s=given.self_check_max_s,
            default_wait_s=given.self_check_deadline_s,
            per_line_per_hour=given.self_checks_per_line_per_hour,
            provisioned_apns=tuple(item.lower() for item in given.provisioned_apns),
            lowest_app_versions=given.lowest_app_versions,
        )

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Where a self-check looks, each in a pool of its own."""
        inside: tuple[Source, ...] = (
            LineSource(Line(self.kqi), self._pool("source-line")),
            PeersSource(Peers(self.kqi), self._pool("source-peers")),
            OrdersSource(self.open_orders, self._pool("source-orders")),
            AccountSource(self.customers, self._pool("source-account"), self.clock),
        )
        return inside + tuple(self._upstream(item) for item in self.settings.upstreams)

    def _upstream(self, given: UpstreamSettings) -> UpstreamSource:
        headers = {} if given.token is None else {"Authorization": f"Bearer {given.token.get_secret_value()}"}
        upstream = Upstream(given.name, str(given.url), given.fields, given.budget_s, headers)
        # One client each: a hung system fills its own connections only. Certificates are verified, redirects and the
        # environment's proxies are not followed.
        client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, limits=httpx.Limits(max_connections=AT_ONCE)
        )
        self._upstream_clients.append(client)
        return UpstreamSource(upstream, client, self.clock)

    def _pool(self, name: str) -> Bulkhead:
        pool = Bulkhead(name, POOL_THREADS)
        self._closing.callback(pool.close)
        return pool

    @cached_property
    def self_checks(self) -> SelfCheckService:
        """Runs self-checks."""
        return SelfCheckService(
            self.database,
            self.clock,
            self.self_check_settings,
            self.rules,
            self.taxonomy,
            sources=self.sources,
            identity=self.hasher,
            audit=Audit(self.audit),
            snapshots=SnapshotReports(self.ingest),
            on_verdict=self.cases.on_verdict,
            on_complaint=self.cases.from_complaint,
        )

    @cached_property
    def verdicts(self) -> VerdictReading:
        """Stored verdicts."""
        return VerdictReading(self.database, self.clock, Audit(self.audit))

    # cases and orders

    @cached_property
    def policy(self) -> PolicySettings:
        """When cases become orders."""
        given = self.settings
        return PolicySettings(
            watermark=timedelta(seconds=given.watermark_s),
            amend_for=timedelta(minutes=given.amend_min),
            min_subscribers=given.order_min_subscribers,
        )

    @cached_property
    def cases(self) -> CaseService:
        """Cases."""
        return CaseService(self.database, self.clock, self.policy)

    @cached_property
    def orders(self) -> OrderService:
        """Work orders."""
        return OrderService(self.database, self.clock)

    @cached_property
    def open_orders(self) -> OpenOrders:
        """Open orders as mass faults."""
        return OpenOrders(self.database)

    # the whole

    async def start(self, *, routes: bool) -> None:
        """Make what must be there before the first request (writers read the keys of what is stored)."""
        if routes:
            await run_blocking(lambda: (self.reports_writer, self.kqi, self.self_checks))

    async def stop(self) -> None:
        """Let self-checks end, commit what writers hold, let upstreams go."""
        if "self_checks" in self.__dict__:
            await self.self_checks.drain(self.settings.drain_s)
            self.self_checks.close()
        if "reports_writer" in self.__dict__:
            await run_blocking(self.reports_writer.close)
        for client in self._upstream_clients:
            await client.aclose()

    def jobs(self) -> list[Job]:
        """What a worker does again and again."""
        every_s = self.settings.job_interval_s
        sweeper = SelfCheckSweeper(
            self.database,
            self.clock,
            self.self_check_settings,
            self.rules,
            self.taxonomy,
            source_names=tuple(source.name for source in self.sources),
            on_verdict=self.cases.on_verdict,
        )
        return [
            Job("sessions", SessionJob(self.facts, self.clock).tick, every_s),
            Job("cubes", CubeJob(self.facts, self.clock).tick, every_s),
            Job("rollup", RollupJob(self.facts, self.clock).tick, every_s),
            Job("anomalies", AnomalyJob(self.facts, self.clock).tick, every_s),
            Job("self-check-sweep", sweeper.tick, every_s),
            Job("window-closing", WindowCloser(self.database, self.clock, self.policy).tick, every_s),
        ]

    def routers(self) -> list[APIRouter]:
        """Every room's routes."""
        return [
            access_endpoints.build_router(self.access, self.sessions, self.audit, self.hashing, self.guard),
            customers_endpoints.build_router(self.customers, self.guard),
            ingest_endpoints.build_router(self.ingest, self.guard),
            kqi_endpoints.build_router(self.kqi, self.guard, self.clock),
            demarcation_endpoints.build_router(self.self_checks, self.verdicts, self.guard),
            workorders_endpoints.build_router(self.cases, self.orders, self.taxonomy, self.guard),
            self._pages(),
        ]

    def _pages(self) -> APIRouter:
        view = HouseView(
            database=self.database,
            facts=self.facts,
            cubes=self.kqi.cubes,
            order_service=self.orders,
            case_service=self.cases,
            taxonomy=self.taxonomy,
            clock=self.clock,
        )
        return build_pages_router(
            view,
            RoomDesk(self.orders, self.taxonomy),
            StaffLogins(self.sessions),
            self.hashing,
            self.guard,
            self.clock,
            names=name_book(self.settings),
            zone=ZoneInfo(self.settings.time_zone),
            secure_cookies=self.settings.secure_cookies,
        )

    def build_app(
        self, lifespan: Callable[[], AbstractAsyncContextManager[None]], *, routes: bool = True
    ) -> FastAPI:
        """The web application; without `routes` only health and metrics."""
        return create_app(
            self.settings, self.guard, self.routers() if routes else [], self.readiness(), lifespan
        )

    def front(self, app: FastAPI) -> ASGIApp:
        """What the server calls: reports take their short lane, everything else the application."""
        lane: ASGIApp = ReportsLane(app, self.ingest, self.guard)
        if self.settings.cors_origins:
            lane = CollectorCors(lane, origins=self.settings.cors_origins, prefixes=(REPORTS_PATH,))
        lane = ObservedRequests(lane)

        async def _front(scope: Scope, receive: Receive, send: Send) -> None:
            short = scope["type"] == "http" and scope["path"] == REPORTS_PATH and scope["method"] == "POST"
            await (lane if short else app)(scope, receive, send)

        return _front

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
