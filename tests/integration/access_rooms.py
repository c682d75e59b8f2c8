"""The access and customers rooms wired on a real store, with cheap passwords and a clock that a test moves."""

from __future__ import annotations

from datetime import timedelta

from fastapi import FastAPI
from sqlalchemy import text

from cem.access import endpoints as access_endpoints
from cem.access.audit import AuditFilter, AuditLog
from cem.access.authentication import Authenticator
from cem.access.endpoints import HashingThreads
from cem.access.passwords import PasswordCost, Passwords
from cem.access.records import AuditRecord
from cem.access.service import COMMAND_LINE, AccessService
from cem.access.sessions import SessionPolicy, SessionService
from cem.access.throttle import ThrottleRule
from cem.access.tokens import DeviceTokens
from cem.customers import endpoints as customers_endpoints
from cem.customers.ports import ActivityPort, NoActivity
from cem.customers.service import CustomersService
from cem.platform.db import Database
from cem.platform.security import Guard, Key, NumberCipher, NumberHasher, Permission, PrincipalKind, Role
from cem.platform.web import ObservedRequests, install_problem_details
from tests.conftest import FakeClock
from tests.web_client import WebClient

NUMBER = "+8613812345678"
PASSWORD = "seven quiet herons"
POLICY = SessionPolicy(
    absolute=timedelta(hours=12),
    idle=timedelta(hours=1),
    per_user=ThrottleRule(free_failures=3),
    per_address=ThrottleRule(free_failures=8),
)
HASH_KEY, CIPHER_KEY, TOKEN_KEY = Key(b"h" * 32), Key(b"c" * 32), Key(b"t" * 32)


class Rooms:
    """One process's worth of access and customers."""

    def __init__(self, database: Database, clock: FakeClock, activity: ActivityPort | None = None) -> None:
        self.database, self.clock = database, clock
        self.audit = AuditLog(database, clock)
        self.hasher = NumberHasher(HASH_KEY)
        self.customers = CustomersService(
            database,
            clock,
            hasher=self.hasher,
            cipher=NumberCipher(CIPHER_KEY),
            audit=self.audit,
            activity=activity or NoActivity(),
        )
        passwords = Passwords(PasswordCost(time_cost=1, memory_kib=8, parallelism=1))
        self.tokens = DeviceTokens(TOKEN_KEY, clock)
        self.authenticator = Authenticator(database, clock, self.tokens, policy=POLICY)
        self.sessions = SessionService(
            database, clock, self.audit, passwords, policy=POLICY, forget=self.authenticator.forget
        )
        self.access = AccessService(
            database,
            clock,
            self.audit,
            passwords,
            tokens=self.tokens,
            subscribers=self.customers,
            forget=self.authenticator.forget,
        )
        self.hashing = HashingThreads(2)
        self.guard = Guard(self.authenticator)

    def app(self) -> FastAPI:
        app = FastAPI()
        app.include_router(
            access_endpoints.build_router(self.access, self.sessions, self.audit, self.hashing, self.guard)
        )
        app.include_router(customers_endpoints.build_router(self.customers, self.guard))
        install_problem_details(app)
        app.add_middleware(ObservedRequests)
        return app

    def client(self, address: str = "192.0.2.7") -> WebClient:
        return WebClient(self.app(), address=address)

    def user(self, name: str, *roles: Role) -> str:
        """Create a member of staff with `PASSWORD`; the id."""
        return self.access.create_user(COMMAND_LINE, name, roles, password=PASSWORD)[0].id

    def bearer(self, name: str, *roles: Role) -> dict[str, str]:
        """Create a member of staff and sign in; the header to send."""
        self.user(name, *roles)
        return {"authorization": f"Bearer {self.sessions.login(name, PASSWORD, 'fixture').token}"}

    def key(self, kind: PrincipalKind, *permissions: Permission) -> dict[str, str]:
        """Create a key; the header to send."""
        created = self.access.create_key(COMMAND_LINE, "test", kind, permissions)
        return {"authorization": f"Bearer {created.secret}"}

    def entries(self, action: str) -> list[AuditRecord]:
        """Audit entries of one action, newest first."""
        return list(self.audit.page(AuditFilter(action=action), limit=100)[0])

    def close(self) -> None:
        self.hashing.close()


def everything_stored(database: Database, *without: str) -> str:
    """All rows of all tables as text, to look for what must not be there."""
    with database.read() as session:
        if database.dialect == "sqlite":
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        else:
            names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        tables = [name for (name,) in session.execute(text(names)) if name not in without]
        return "\n".join(
            repr(row) for table in tables for row in session.execute(text(f'SELECT * FROM "{table}"'))
        )
