from pathlib import Path

import pytest

from cem.platform.errors import ConfigurationError
from cem.platform.settings import Settings, describe_settings, load_settings


def test_defaults_stand_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({})
    assert settings.port == 8080
    assert settings.resolved_database_url() == f"sqlite:///{tmp_path / 'var' / 'cem.sqlite3'}"
    assert settings.embedded_kqi


def test_environment_wins_over_file_and_command_line_over_both(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text('port = 1000\nhost = "10.0.0.1"\nmax_items = 7\n')
    settings = load_settings({"CEM_CONFIG": str(file), "CEM_PORT": "2000", "CEM_HOST": "::1"}, host="0.0.0.0")
    assert (settings.port, settings.host, settings.max_items) == (2000, "0.0.0.0", 7)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"CEM_PORT": "eighty"}, "CEM_PORT: port: Input should be a valid integer"),
        ({"CEM_PORT": "70000"}, "CEM_PORT: port: Input should be less than or equal to 65535"),
        ({"CEM_PROT": "80"}, "CEM_PROT: there is no setting prot; did you mean port?"),
        ({"CEM_DATABASE_URL": "mysql://x/y"}, "CEM_DATABASE_URL: database_url: mysql is not taken"),
        ({"CEM_DATABASE_URL": "sqlite://"}, "SQLite needs a file"),
        ({"CEM_KQI_URL": "http://x"}, "CEM_KQI_URL: kqi_url: give chdb:///path"),
        ({"CEM_CONFIG": "/nowhere/cem.toml"}, "CEM_CONFIG: there is no file /nowhere/cem.toml"),
        ({"CEM_UPSTREAMS": "[{name = 'Bad Name', url = 'http://127.0.0.1/x'}]"}, "upstreams.0.name"),
        ({"CEM_UPSTREAMS": "[{"}, "CEM_UPSTREAMS: not a list or table as TOML writes it"),
    ],
)
def test_a_wrong_setting_is_named_exactly(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    assert message in caught.value.detail


def test_every_wrong_setting_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"CEM_PORT": "x", "CEM_MAX_ITEMS": "0"})
    assert len(caught.value.detail.splitlines()) == 2


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "cem.toml"
    file.write_text("port = \n")
    with pytest.raises(ConfigurationError, match="line 1"):
        load_settings({"CEM_CONFIG": str(file)})


def test_lists_from_the_environment() -> None:
    settings = load_settings(
        {
            "CEM_CORS_ORIGINS": "https://a.example, https://b.example",
            "CEM_UPSTREAMS": "[{name = 'account', url = 'http://127.0.0.1:9/x', budget_s = 0.5}]",
        }
    )
    assert settings.cors_origins == ["https://a.example", "https://b.example"]
    assert settings.upstreams[0].budget_s == 0.5


def test_every_setting_is_described() -> None:
    rows = describe_settings()
    assert [name for name, _, _ in rows] == list(Settings.model_fields)
    assert all(text for _, _, text in rows)


def test_secrets_do_not_show() -> None:
    settings = load_settings({"CEM_TOKEN_KEY": "c2VjcmV0"})
    assert "c2VjcmV0" not in repr(settings)
