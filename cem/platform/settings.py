"""Every setting of the service, with its unit, default and bounds.

Settings come from a TOML file (`cem.toml`, or the one `CEM_CONFIG` names) and from environment variables
`CEM_<NAME>`; the environment wins. A wrong or unknown setting stops the start with a message that names it.
`cem doctor --settings` prints this list; `docs/settings.md` is made from it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from cem.platform.db import parse_database_url
from cem.platform.errors import ConfigurationError

PREFIX = "CEM_"
CONFIG_VARIABLE = "CEM_CONFIG"
DEFAULT_FILE = "cem.toml"

Seconds = Annotated[float, Field(ge=0)]


class UpstreamSettings(BaseModel):
    """One upstream system that a self-check asks over HTTP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="Origin named in the evidence.")
    url: AnyHttpUrl = Field(description="Asked with POST and {subscriber_id, service, at, dimensions}.")
    token: SecretStr | None = Field(default=None, description="Sent as Authorization: Bearer.")
    budget_s: float = Field(default=2.0, gt=0, le=20, description="Time the source gets. [s]")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Evidence key → JSON pointer into the answer, e.g. account_arrears = '/arrears'.",
    )


class Settings(BaseModel):
    """What an operator can set. Field descriptions are the documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # where things are
    data_dir: Path = Field(default=Path("var"), description="Folder of the embedded stores and the secrets.")
    database_url: str = Field(
        default="",
        description="Operational store. Empty: SQLite in data_dir. Or postgresql://user:password@host/database.",
    )
    kqi_url: str = Field(
        default="",
        description="KQI store. Empty: embedded chDB in data_dir. Or "
        "clickhouse://user:password@host:8123/database (clickhouses:// with TLS).",
    )
    kqi_cluster: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_]*$",
        description="ClickHouse cluster name for replicated tables; empty for one server.",
    )

    # the server
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str = Field(default="", description="Address callers use, where it differs (behind a proxy).")
    cors_origins: list[str] = Field(
        default_factory=list,
        description="Web origins whose pages may call the collectors and the self-check "
        "('*' for any; bearer tokens only, never cookies).",
    )
    time_zone: str = Field(
        default="Asia/Shanghai", description="Zone in which pages write times (IANA name)."
    )
    names_file: Path | None = Field(
        default=None, description="TOML of what people call places: [city.nanpu] zh = '…', en = '…'."
    )
    secure_cookies: bool = Field(
        default=False, description="Mark cookies Secure. Set it wherever TLS is in front."
    )
    max_connections: int = Field(
        default=2_000, ge=1, description="Connections held at once; further ones get 503."
    )
    drain_s: Seconds = Field(default=20.0, description="Time that requests under way get at shutdown. [s]")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level logged."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="One JSON object a line, or text for a person."
    )

    # the demo
    demo: bool = Field(
        default=False, description="Run the demo province (`cem serve` turns it on, `--no-demo` off)."
    )
    demo_seed: int = Field(default=20260101, description="Seed of the demo province.")
    clock_offset_s: float = Field(
        default=0.0, description="Shift of the service's clock, for rehearsals only. [s]"
    )

    # keys (made at first start under data_dir/secrets where empty)
    number_hash_key: SecretStr = Field(
        default=SecretStr(""), description="Base64 of 32 bytes: keys the hash of numbers."
    )
    number_cipher_key: SecretStr = Field(
        default=SecretStr(""), description="Base64 of 32 bytes: encrypts numbers."
    )
    token_key: SecretStr = Field(
        default=SecretStr(""), description="Base64 of 32 bytes: signs device tokens."
    )
    number_cipher_previous_keys: list[SecretStr] = Field(
        default_factory=list, description="Earlier number_cipher_keys, which still decrypt."
    )
    token_previous_keys: list[SecretStr] = Field(
        default_factory=list, description="Earlier token_keys, whose tokens still hold until they end."
    )
    country_code: str = Field(
        default="86", pattern=r"^[1-9]\d{0,2}$", description="Put before numbers without one."
    )

    # reports in
    max_body_bytes: int = Field(default=4_194_304, ge=1_024, description="Largest request body. [B]")
    max_inflated_bytes: int = Field(
        default=33_554_432, ge=1_024, description="Largest body once inflated. [B]"
    )
    max_items: int = Field(default=10_000, ge=1, description="Most items in one request. [1]")
    max_depth: int = Field(default=16, ge=4, le=64, description="Deepest nesting of a body. [1]")
    late_after_h: float = Field(default=48.0, gt=0, description="Older reports and samples are refused. [h]")
    future_skew_s: float = Field(
        default=300.0, ge=0, description="Further ahead of our clock is refused. [s]"
    )
    commit_delay_ms: float = Field(
        default=5.0, ge=0, le=1_000, description="How long a group commit gathers. [ms]"
    )
    queue_items: int = Field(
        default=200_000, ge=1, description="Items that may wait for a commit; then 503. [1]"
    )

    # self-check
    self_check_deadline_s: float = Field(
        default=5.0, gt=0, le=20, description="Time a verdict gets by default. [s]"
    )
    self_check_max_s: float = Field(default=20.0, gt=0, le=20, description="Most that a caller may give. [s]")
    self_checks_per_line_per_hour: int = Field(default=60, ge=1, description="Then 429. [1]")
    provisioned_apns: list[str] = Field(
        default_factory=list, description="APNs right for any line whose own is not provisioned."
    )
    lowest_app_versions: dict[str, str] = Field(
        default_factory=dict, description="Lowest supported app version by operating system, as a TOML table."
    )
    rules_file: Path | None = Field(default=None, description="Rule set; none: the one shipped.")
    upstreams: list[UpstreamSettings] = Field(
        default_factory=list, description="Systems asked over HTTP ([[upstreams]])."
    )

    # windows
    watermark_s: float = Field(
        default=150.0, ge=0, description="After a window's end, wait so long to close it. [s]"
    )
    amend_min: float = Field(
        default=30.0, ge=0, description="A case so late still joins its window's order. [min]"
    )
    order_min_subscribers: int = Field(
        default=2, ge=1, description="Lines hit before an order opens unasked. [1]"
    )
    job_interval_s: float = Field(
        default=2.0, gt=0, description="Pause between rounds of the background jobs. [s]"
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value:
            try:
                parse_database_url(value)
            except ConfigurationError as error:
                raise ValueError(error.detail.removeprefix("database_url: ")) from error
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("give an IANA name such as Asia/Shanghai") from error
        return value

    @field_validator("kqi_url")
    @classmethod
    def _known_kqi_store(cls, value: str) -> str:
        if value and not value.startswith(("chdb:///", "clickhouse://", "clickhouses://")):
            raise ValueError(
                "give chdb:///path, clickhouse://user:password@host:port/database or clickhouses://…"
            )
        return value

    def resolved_database_url(self) -> str:
        """The operational store's URL, with the embedded default filled in."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'cem.sqlite3').resolve()}"

    def resolved_kqi_url(self) -> str:
        """The KQI store's URL, with the embedded default filled in."""
        return self.kqi_url or f"chdb:///{(self.data_dir / 'kqi').resolve()}"

    @property
    def embedded_kqi(self) -> bool:
        """True where the KQI store lives in this process, which then must be the only one."""
        return self.resolved_kqi_url().startswith("chdb://")

    @property
    def late_after(self) -> timedelta:
        """`late_after_h` as a duration."""
        return timedelta(hours=self.late_after_h)

    @property
    def future_skew(self) -> timedelta:
        """`future_skew_s` as a duration."""
        return timedelta(seconds=self.future_skew_s)


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the file, then the environment, then `overrides` (the command line).

    Raises
    ------
    ConfigurationError
        Naming each wrong setting, where it came from, and what would be right.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    named = environ.get(CONFIG_VARIABLE)
    file = Path(named or DEFAULT_FILE)
    if file.is_file():
        values.update(_read_file(file))
        sources.update(dict.fromkeys(values, str(file)))
    elif named:
        raise ConfigurationError(f"{CONFIG_VARIABLE}: there is no file {named}")
    for variable, text in environ.items():
        if variable.startswith(PREFIX) and variable != CONFIG_VARIABLE:
            name = variable.removeprefix(PREFIX).lower()
            values[name] = _from_text(name, text, variable)
            sources[name] = variable
    for name, value in overrides.items():
        if value is not None:
            values[name] = value
            sources[name] = "--" + name.replace("_", "-")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(item, sources) for item in error.errors())) from error


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{file}: {error}") from error


def _from_text(name: str, text: str, variable: str) -> Any:
    """An environment variable's value: lists and tables as TOML, everything else as it stands."""
    field = Settings.model_fields.get(name)
    kind = "" if field is None else str(field.annotation)
    if "list" not in kind and "dict" not in kind:
        return text
    if "list" in kind and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{variable}: not a list or table as TOML writes it: {error}") from error


def _explain(item: Any, sources: Mapping[str, str]) -> str:
    path = ".".join(str(part) for part in item["loc"])
    name = str(item["loc"][0]) if item["loc"] else ""
    where = sources.get(name, "settings")
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{where}: there is no setting {path}{hint}"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {path}: {message}"


def describe_settings() -> list[tuple[str, str, str]]:
    """Name, default and description of every setting, in order."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if isinstance(default, SecretStr) or default is None else str(default)
        rows.append((name, shown, field.description or ""))
    return rows
