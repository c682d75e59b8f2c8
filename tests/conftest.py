"""Fixtures that every test may use: a clock that a test moves, and both operational stores, real."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from cem.platform.db import Database
from migrations.tables import whole_metadata

POSTGRES_USER = "postgres"


class FakeClock:
    """A clock that stands until a test moves it."""

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, 7, 30, tzinfo=UTC)) -> None:
        self.at = start
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.elapsed_s

    def advance(self, duration: timedelta) -> None:
        self.at += duration
        self.elapsed_s += duration.total_seconds()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _postgres_binaries() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    assert found, "PostgreSQL's initdb is needed: `make test` installs it as root"
    return Path(found).parent


def _as_database_user() -> dict[str, object]:
    """PostgreSQL refuses to run as root: become its own user there."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(POSTGRES_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL of our own on loopback; ended with the session."""
    binaries = _postgres_binaries()
    folder = Path(tempfile.mkdtemp(prefix="cem-pg-"))
    folder.chmod(0o755)
    data, port = folder / "data", free_port()
    identity = _as_database_user()
    if identity:
        shutil.chown(folder, POSTGRES_USER)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "cem", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"],
        check=True,
        **quiet,
        **identity,
    )
    server = subprocess.Popen(
        [
            *(binaries / "postgres", "-D", data, "-p", str(port), "-k", folder),
            *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100"),
        ],
        **quiet,
        **identity,
    )
    url = f"postgresql://cem@127.0.0.1:{port}/postgres"
    try:
        engine = sa.create_engine(
            url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool
        )
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while True:
            try:
                engine.connect().close()
                break
            except sa.exc.OperationalError:
                assert server.poll() is None, "PostgreSQL ended while starting"
                assert datetime.now(UTC) < deadline, "PostgreSQL did not start within a minute"
        yield url
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_database_url(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own for one test."""
    name = f"t_{abs(hash(request.node.nodeid)):x}_{os.getpid()}"
    admin = sa.create_engine(
        postgres_url.replace("postgresql://", "postgresql+psycopg://"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
    )
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    yield postgres_url.rsplit("/", 1)[0] + "/" + name
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty operational store: each test runs once on each dialect."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cem.sqlite3'}"
    return str(request.getfixturevalue("postgres_database_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The operational store with every table made from the models."""
    store = Database(database_url)
    whole_metadata().create_all(store.engine)
    yield store
    store.close()
