"""The command line.

Exit codes: 0 done, 1 failed or something found, 2 wrong usage or a wrong setting, 3 a store is away.

Secrets go to standard output once, alone on their line, so that they can be piped; words for people go to
standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cem import __version__
from cem.platform.errors import CemError, ConfigurationError, Unavailable
from cem.platform.settings import Settings, describe_settings, load_settings

if TYPE_CHECKING:
    from cem.wiring import House

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STORE_AWAY = 3

_ROLES = ("agent", "engineer", "operations", "administrator")


class _Commands(click.Group):
    """Turns our own errors into a message and an exit code; anything else keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            _fail(f"cem: a setting is wrong\n{error.detail}", EXIT_USAGE)
        except Unavailable as error:
            _fail(f"cem: {error.detail}", EXIT_STORE_AWAY)
        except CemError as error:
            _fail(f"cem: {error.detail}", EXIT_FAILED)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    raise SystemExit(code)


def _settings(ctx: click.Context, **overrides: Any) -> Settings:
    return load_settings(**{**ctx.obj, **overrides})


def _house(ctx: click.Context, **overrides: Any) -> House:
    from cem.migrating import require_tables
    from cem.platform.observe import configure_logging
    from cem.wiring import House

    settings = _settings(ctx, **overrides)
    configure_logging("warning", as_json=False)
    house = House(settings)
    require_tables(house.database)
    return house


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cem")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the embedded stores and the secrets."
)
@click.pass_context
def main(ctx: click.Context, data_dir: Path | None) -> None:
    """Says which side a fault is on - terminal, network or platform - and gets it fixed.

    Settings come from cem.toml (or the file CEM_CONFIG names) and CEM_* variables; `cem settings` lists them.
    """
    ctx.obj = {"data_dir": data_dir}


# running


def _serving_options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--host", help="Address to listen on.")(command)
    return click.option(
        "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one."
    )(command)


@main.command()
@_serving_options
@click.option("--demo/--no-demo", default=None, help="With the demo province (the default), or empty.")
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None, demo: bool | None) -> None:
    """Everything in one process: migrate, then routes, jobs and (unless --no-demo) the demo province."""
    from cem.running import run_service

    settings = _settings(ctx, host=host, port=port, demo=demo)
    if demo is None and "demo" not in settings.model_fields_set:
        settings = settings.model_copy(update={"demo": True})
    raise SystemExit(run_service(settings, routes=True, jobs=True))


@main.command()
@_serving_options
@click.pass_context
def api(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Routes only; any number of these beside any number of workers. Needs a ClickHouse server."""
    from cem.running import run_service

    raise SystemExit(run_service(_settings(ctx, host=host, port=port), routes=True, jobs=False))


@main.command()
@_serving_options
@click.pass_context
def worker(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Background jobs only, with health and metrics on the port. Needs a ClickHouse server."""
    from cem.running import run_service

    raise SystemExit(run_service(_settings(ctx, host=host, port=port), routes=False, jobs=True))


@main.command()
@click.option(
    "--url", default="http://127.0.0.1:8080", show_default=True, help="The running service to drive."
)
@click.option("--history-min", default=60, show_default=True, help="Minutes of past to make first.")
@click.pass_context
def demo(ctx: click.Context, url: str, history_min: int) -> None:
    """Drive a running service with the demo province until interrupted."""
    from cem.running import run_demo_against

    with _house(ctx) as house:
        run_demo_against(house, url, history_min)


# stores


@main.command()
@click.option(
    "--check", is_flag=True, help="Only prove that migrations and models are in step, on stores made for it."
)
@click.option("--status", is_flag=True, help="Only say what is applied.")
@click.pass_context
def migrate(ctx: click.Context, check: bool, status: bool) -> None:
    """Bring both stores to the newest revision; safe to repeat and to run from many machines at once."""
    from cem import migrating

    if check:
        found = migrating.check_in_step()
        for line in found:
            click.echo(line)
        click.echo(
            "migrations differ from the models" if found else "migrations and models are in step", err=True
        )
        raise SystemExit(EXIT_FAILED if found else 0)
    settings = _settings(ctx)
    lines = migrating.status(settings) if status else migrating.migrate(settings)
    for line in lines:
        click.echo(line)


@main.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Look for what would keep the service from doing its work; say what to do about each."""
    from cem.doctor import examine

    worst = 0
    for finding in examine(_settings(ctx)):
        mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
        click.echo(f"{mark} {finding.name}: {finding.detail}")
        worst = max(worst, 0 if finding.ok else EXIT_FAILED)
    raise SystemExit(worst)


@main.command("settings")
@click.option(
    "--format", "form", type=click.Choice(["table", "markdown"]), default="table", show_default=True
)
def list_settings(form: str) -> None:
    """Every setting with its default."""
    if form == "markdown":
        click.echo(settings_markdown(), nl=False)
        return
    for name, default, text in describe_settings():
        click.echo(f"{click.style(name, bold=True)} [{default}]\n    {text}")


def settings_markdown() -> str:
    """The page docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "In `cem.toml` (or the file that `CEM_CONFIG` names) under these names, or in the environment as `CEM_` and",
        "the name in capitals; the environment wins. A wrong or unknown setting stops the start and is named.",
        "Made by `cem settings --format markdown`.",
        "",
        "| setting | default | what it does |",
        "|---|---|---|",
    ]
    for name, default, text in describe_settings():
        shown = f"`{default}`" if default else "-"
        lines.append(f"| `{name}` | {shown} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


# people, keys, tokens


@main.group()
def user() -> None:
    """Members of staff."""


@user.command("add")
@click.argument("name")
@click.option(
    "--role", "roles", type=click.Choice(_ROLES), multiple=True, required=True, help="May be repeated."
)
@click.option("--display-name", default="", help="Name shown to others.")
@click.pass_context
def user_add(ctx: click.Context, name: str, roles: tuple[str, ...], display_name: str) -> None:
    """Create a user; prints the password once."""
    from cem.access.service import COMMAND_LINE
    from cem.platform.security import Role

    with _house(ctx) as house:
        _, password = house.access.create_user(
            COMMAND_LINE, name, [Role(role) for role in roles], display_name=display_name
        )
    click.echo(f"{name}'s password, shown this once:", err=True)
    click.echo(password)


@user.command("list")
@click.pass_context
def user_list(ctx: click.Context) -> None:
    """One line a user."""
    with _house(ctx) as house:
        for item in _pages(
            lambda after: house.access.list_users(limit=500, after=after), lambda item: item.name
        ):
            state = "disabled" if item.disabled_at else "active"
            click.echo(f"{item.name}\t{','.join(item.roles)}\t{state}")


@user.command("password")
@click.argument("name")
@click.pass_context
def user_password(ctx: click.Context, name: str) -> None:
    """Give a user a new password, printed once; ends the user's sessions."""
    from cem.access.service import COMMAND_LINE

    with _house(ctx) as house:
        password = house.access.reset_password(COMMAND_LINE, house.access.user_named(name).id)
    click.echo(f"{name}'s new password, shown this once:", err=True)
    click.echo(password)


@user.command("disable")
@click.argument("name")
@click.pass_context
def user_disable(ctx: click.Context, name: str) -> None:
    """Let a user in no more; ends the user's sessions."""
    from cem.access.service import COMMAND_LINE

    with _house(ctx) as house:
        house.access.change_user(COMMAND_LINE, house.access.user_named(name).id, disabled=True)
    click.echo(f"{name} is disabled", err=True)


@main.group()
def key() -> None:
    """Keys of feeds and of other systems."""


@key.command("add")
@click.argument("name")
@click.option("--kind", type=click.Choice(["feed", "system"]), required=True)
@click.option(
    "--permission", "permissions", multiple=True, help="May be repeated; default: what the kind may hold."
)
@click.pass_context
def key_add(ctx: click.Context, name: str, kind: str, permissions: tuple[str, ...]) -> None:
    """Create a key; prints it once."""
    from cem.access.service import COMMAND_LINE
    from cem.platform.security import KIND_PERMISSIONS, Permission, PrincipalKind

    unknown = set(permissions) - set(Permission)
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there is {', '.join(sorted(Permission))}")
    chosen = [Permission(item) for item in permissions] or KIND_PERMISSIONS[PrincipalKind(kind)]
    with _house(ctx) as house:
        made = house.access.create_key(COMMAND_LINE, name, PrincipalKind(kind), chosen)
    click.echo(f"{kind} key {made.key.id}, shown this once:", err=True)
    click.echo(made.secret)


@key.command("list")
@click.pass_context
def key_list(ctx: click.Context) -> None:
    """One line a key; never the key itself."""
    with _house(ctx) as house:
        for item in _pages(
            lambda after: house.access.list_keys(limit=500, after=after), lambda item: item.id
        ):
            state = "revoked" if item.revoked_at else "active"
            click.echo(f"{item.id}\t{item.kind}\t{item.name}\t{','.join(item.permissions)}\t{state}")


@key.command("revoke")
@click.argument("key_id")
@click.pass_context
def key_revoke(ctx: click.Context, key_id: str) -> None:
    """End a key."""
    from cem.access.service import COMMAND_LINE

    with _house(ctx) as house:
        house.access.revoke_key(COMMAND_LINE, key_id)
    click.echo(f"{key_id} is revoked", err=True)


@main.command("token")
@click.option(
    "--ttl-s", type=click.IntRange(60, 3600), default=900, show_default=True, help="Life of the token. [s]"
)
@click.option("--install", "install_id", help="Bind it to one installation of the app.")
@click.pass_context
def mint_token(ctx: click.Context, ttl_s: int, install_id: str | None) -> None:
    """Mint a device token for the number read from standard input (a number never stands on a command line)."""
    number = sys.stdin.readline().strip()
    with _house(ctx) as house:
        minted = house.access.mint_token(number, ttl_s, install_id)
    click.echo(f"for {minted.subscriber_id} until {minted.expires_at.isoformat()}", err=True)
    click.echo(minted.token)


def _pages(page: Callable[[str | None], Any], mark: Callable[[Any], str]) -> Iterator[Any]:
    after: str | None = None
    while found := page(after):
        yield from found
        after = mark(found[-1])


# demarcation without a server


@main.command()
@click.argument("bundles", type=click.File("rb"), default="-")
@click.option(
    "--rules", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another rule set."
)
@click.option("-o", "--output", type=click.File("wb", atomic=True), default="-", help="Where verdicts go.")
@click.pass_context
def demarcate(ctx: click.Context, bundles: Any, rules: Path | None, output: Any) -> None:
    """Replay bundles: NDJSON in, one verdict a line out. A bad line becomes an error line; exit code 1 then.

    A bundle is what GET /v1/verdicts/{id}/bundle gives, or {"at", "snapshot", "samples", "peers", "upstreams"}.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from demarcation.replay import replay_stream
    from demarcation.rules import load_rules

    chosen = load_rules(rules or _settings(ctx).rules_file)
    bad = total = 0
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_stderr_console(), transient=True) as progress:
        task = progress.add_task("replaying", total=None)
        for line in replay_stream(bundles, chosen):
            output.write(line if line.endswith(b"\n") else line + b"\n")
            total += 1
            bad += b'"error"' in line[:200] and "error" in json.loads(line)
            if total % 100 == 0:
                progress.update(task, description=f"{total} bundles")
    click.echo(f"{total} bundles, {bad} bad", err=True)
    raise SystemExit(EXIT_FAILED if bad else 0)


# indicators


@main.group()
def kqi() -> None:
    """Indicators: the catalogue, files in, scores and explaining scopes out."""


@kqi.command("drilldown")
@click.argument("now", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--total", required=True, help="Column with the number of sessions.")
@click.option("--bad", required=True, help="Column with the number of bad ones.")
@click.option("--periods-column", help="Column of BEFORE that tells past periods apart.")
@click.option(
    "--dimension", "dimensions", multiple=True, help="Columns to look at; default: all that are left."
)
@click.option("--top", default=5, show_default=True, help="Alternatives shown beside the causes.")
def kqi_drilldown(
    now: Path,
    before: Path,
    total: str,
    bad: str,
    periods_column: str | None,
    dimensions: tuple[str, ...],
    top: int,
) -> None:
    """Name the scopes that explain why the table NOW.csv is worse than BEFORE.csv; prints JSON."""
    from kqi.drilldown import drilldown_files

    found = drilldown_files(
        now,
        before,
        total=total,
        bad=bad,
        periods_column=periods_column,
        dimensions=list(dimensions) or None,
        top=top,
    )
    click.echo(json.dumps(found, ensure_ascii=False, indent=2))


@kqi.command("catalogue")
@click.option("--service", type=click.Choice(["video", "web", "iot"]), help="Only what this service uses.")
@click.option(
    "--format", "form", type=click.Choice(["table", "ndjson", "markdown"]), default="table", show_default=True
)
def kqi_catalogue(service: str | None, form: str) -> None:
    """Every indicator: what it means, its unit, formula, thresholds and source."""
    from kqi.catalogue_listing import render

    click.echo(render(form, service), nl=False)


@kqi.command("score")
@click.argument("sessions", type=click.File("rb"), default="-")
def kqi_score(sessions: Any) -> None:
    """Experience score 1-5 of each session line (docs/experience.md); a bad line becomes an error line."""
    from kqi.experience import score_stream

    bad = 0
    for line in score_stream(sessions):
        sys.stdout.buffer.write(line if line.endswith(b"\n") else line + b"\n")
        bad += "error" in json.loads(line)
    raise SystemExit(EXIT_FAILED if bad else 0)


@kqi.command("import")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What columns or counters mean.",
)
@click.option(
    "--feed", type=click.Choice(["pipe", "cloud", "iot"]), help="Vantage point, where the file does not say."
)
@click.option(
    "--origin", default="import", show_default=True, help="The feed's name; part of a sample's identity."
)
@click.option(
    "--dry-run", is_flag=True, help="Print as NDJSON what would be stored and what is refused; store nothing."
)
@click.pass_context
def kqi_import(
    ctx: click.Context, path: Path, mapping: Path | None, feed: str | None, origin: str, dry_run: bool
) -> None:
    """Store the samples of a file: NDJSON, JSON, CSV, Parquet, Arrow, 3GPP measurement XML; also .gz and .zst.

    Sending a file again changes nothing. With the embedded store this needs the service to be stopped.
    """
    from rich.progress import Progress

    from kqi.feeds.importing import import_file, load_mapping
    from kqi.samples import Feed

    with _house(ctx) as house, Progress(console=_stderr_console(), transient=True) as progress:
        task = progress.add_task(path.name, total=None)
        report = import_file(
            path,
            commits=None if dry_run else house.samples_writer,
            hash_number=house.hasher,
            clock=house.clock,
            origin=origin,
            mapping=load_mapping(mapping) if mapping else None,
            feed=Feed(feed) if feed else None,
            progress=lambda done, size: progress.update(task, completed=done, total=size),
            emit=lambda line: click.echo(line.decode()),
        )
    refused = sum(report.refused.values())
    verb = "would be stored" if dry_run else "stored"
    click.echo(
        f"{report.format}: {report.accepted} {verb}, {report.duplicate} there already, {refused} refused",
        err=True,
    )
    for reason, count in report.refused.most_common():
        click.echo(f"  {count} × {reason}", err=True)
    if report.failure:
        _fail(f"not read to its end: {report.failure}", EXIT_FAILED)
    raise SystemExit(EXIT_FAILED if refused else 0)


def _stderr_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


if __name__ == "__main__":
    sys.exit(main())
