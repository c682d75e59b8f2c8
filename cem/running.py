"""Starts the service: stores up to date, first administrator, routes, jobs, demo; stops it in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator
from datetime import timedelta

import click

from cem.migrating import migrate_stores, require_current
from cem.platform.errors import ConfigurationError
from cem.platform.observe import configure_logging, get_logger
from cem.platform.settings import Settings
from cem.serving import serve
from cem.wiring import House
from cem.worker import Worker

_log = get_logger("cem.running")


def run_service(settings: Settings, *, routes: bool, jobs: bool) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    Parameters
    ----------
    routes, jobs
        Both: `cem serve`, which also migrates. One alone needs stores that are current already.

    Raises
    ------
    ConfigurationError
        One alone on embedded stores, or stores that are not current.
    """
    configure_logging(settings.log_level, as_json=settings.log_format == "json")
    if not (routes and jobs) and settings.embedded_kqi:
        raise ConfigurationError(
            "kqi_url: the embedded KQI store belongs to one process; use `cem serve`, or give a ClickHouse URL"
        )
    with House(settings) as house:
        if routes and jobs:
            for line in migrate_stores(house.database, house.facts):
                _log.info("migrated", store=line)
        else:
            require_current(house.database, house.facts)
        house.check_keys()
        password = house.access.ensure_first_administrator() if routes else None
        listening: asyncio.Future[str] | None = None

        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            nonlocal listening
            listening = asyncio.get_running_loop().create_future()
            async with _background(
                house, routes=routes, jobs=jobs, demo=routes and jobs and settings.demo, listening=listening
            ):
                yield

        def announce(url: str) -> None:
            _banner(settings, url, password, routes=routes)
            if listening is not None and not listening.done():
                listening.set_result(url)

        gc.collect()
        gc.freeze()  # what is loaded now stays: the collector need not look at it again
        app = house.build_app(lifespan, routes=routes)
        started = serve(house.front(app) if routes else app, settings, announce)
    _log.info("stopped")
    return 0 if started else 1


@contextlib.asynccontextmanager
async def _background(
    house: House, *, routes: bool, jobs: bool, demo: bool, listening: asyncio.Future[str]
) -> AsyncIterator[None]:
    """Jobs and demo beside the routes; the demo stops first, then the jobs, then the writers drain."""
    await house.start(routes=routes)
    worker = Worker(house.jobs() if jobs else [], house.clock)
    working = asyncio.create_task(worker.run(), name="worker")
    driving = asyncio.create_task(_drive(house, listening), name="demo") if demo else None
    try:
        yield
    finally:
        if driving is not None:
            driving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await driving
        worker.stop()
        await working
        await house.stop()


async def _drive(house: House, listening: asyncio.Future[str]) -> None:
    from cem.demo.driver import DemoSettings, run_demo  # noqa: PLC0415 - only where the demo is on

    url = await listening
    try:
        with house.demo_keys() as keys:
            await run_demo(
                url, keys, DemoSettings(seed=house.settings.demo_seed), house.clock, asyncio.Event()
            )
    except asyncio.CancelledError:
        raise
    except Exception as error:  # the edge of the demo: it must not take the service down
        _log.error("the demo province stopped", exc_info=error)


def run_demo_against(house: House, url: str, history_min: int) -> None:
    """Drive a service that runs elsewhere, until interrupted."""
    from cem.demo.driver import DemoSettings, run_demo  # noqa: PLC0415 - only where the demo is on

    async def drive() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with house.demo_keys() as keys, contextlib.suppress(asyncio.CancelledError):
            chosen = DemoSettings(seed=house.settings.demo_seed, history=timedelta(minutes=history_min))
            await run_demo(url, keys, chosen, house.clock, asyncio.Event())

    asyncio.run(drive())


def _banner(settings: Settings, url: str, password: str | None, *, routes: bool) -> None:
    shown = settings.public_url or url
    lines = [f"cem listens on {shown}"]
    if routes:
        lines += [
            f"  pages      {shown}/          (sign in as staff)",
            f"  API        {shown}/docs",
            f"  readiness  {shown}/readyz",
        ]
    if password is not None:
        lines += [
            "  first administrator, shown this once:",
            "    user      administrator",
            f"    password  {password}",
        ]
    if settings.demo and routes:
        lines.append(
            "  the demo province is on; reports, verdicts and orders appear within a minute (--no-demo: empty)"
        )
    click.echo("\n".join(lines))
