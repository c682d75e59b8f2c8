"""The command line as its users meet it: exit codes, exact messages, secrets alone on standard output."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cem.cli import main, settings_markdown

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner(env={"CEM_DATA_DIR": str(tmp_path / "data")})


def test_the_page_of_settings_is_the_one_generated() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_markdown()


def test_a_wrong_setting_stops_with_its_name_and_code_2(runner: CliRunner) -> None:
    result = runner.invoke(main, ["migrate"], env={"CEM_PROT": "1"})
    assert result.exit_code == 2
    assert "CEM_PROT: there is no setting prot; did you mean port?" in result.stderr


@pytest.mark.parametrize("command", ["api", "worker"])
def test_one_half_of_the_service_needs_a_server(runner: CliRunner, command: str) -> None:
    result = runner.invoke(main, [command])
    assert result.exit_code == 2
    assert "the embedded KQI store belongs to one process; use `cem serve`" in result.stderr


def test_a_key_stands_alone_on_standard_output(runner: CliRunner) -> None:
    assert runner.invoke(main, ["migrate"]).exit_code == 0
    made = runner.invoke(main, ["key", "add", "probe", "--kind", "feed"])
    assert made.exit_code == 0
    [secret] = made.stdout.splitlines()
    listed = runner.invoke(main, ["key", "list"])
    assert "probe" in listed.stdout
    assert secret not in listed.stdout + made.stderr


def test_a_key_beyond_its_kind_is_refused(runner: CliRunner) -> None:
    runner.invoke(main, ["migrate"])
    result = runner.invoke(main, ["key", "add", "probe", "--kind", "feed", "--permission", "users_admin"])
    assert result.exit_code == 1
    assert "users_admin" in result.stderr
    unknown = runner.invoke(main, ["key", "add", "probe", "--kind", "feed", "--permission", "everything"])
    assert unknown.exit_code == 2


def test_users_by_command(runner: CliRunner) -> None:
    runner.invoke(main, ["migrate"])
    assert runner.invoke(main, ["user", "add", "lin", "--role", "agent"]).exit_code == 0
    assert runner.invoke(main, ["user", "add", "lin", "--role", "agent"]).exit_code == 1
    first = runner.invoke(main, ["user", "password", "lin"]).stdout
    assert runner.invoke(main, ["user", "password", "lin"]).stdout != first
    assert "lin\tagent\tactive" in runner.invoke(main, ["user", "list"]).stdout


def test_a_token_is_minted_for_a_number_from_standard_input(runner: CliRunner) -> None:
    runner.invoke(main, ["migrate"])
    made = runner.invoke(main, ["token"], input="+8613812345678\n")
    assert made.exit_code == 0, made.stderr
    assert made.stdout.count(".") == 2
    assert "13812345678" not in made.stdout + made.stderr
    refused = runner.invoke(main, ["token"], input="not a number\n")
    assert refused.exit_code == 1
    assert "not a number" not in refused.stderr


def test_before_migrating_a_command_says_what_to_do(runner: CliRunner) -> None:
    result = runner.invoke(main, ["key", "list"])
    assert result.exit_code == 2
    assert "run cem migrate" in result.stderr


def test_migrate_says_what_it_did_and_is_safe_to_repeat(runner: CliRunner) -> None:
    first = runner.invoke(main, ["migrate"])
    again = runner.invoke(main, ["migrate"])
    status = runner.invoke(main, ["migrate", "--status"])
    assert [first.exit_code, again.exit_code, status.exit_code] == [0, 0, 0]
    assert "was empty" in first.stdout
    assert "was empty" not in again.stdout


def test_demarcate_replays_and_names_bad_lines(runner: CliRunner, tmp_path: Path) -> None:
    bundle = {
        "at": "2026-03-01T12:00:00Z",
        "snapshot": {
            "observed_at": "2026-03-01T12:00:00Z",
            "service": "video",
            "symptom": "no_service",
            "settings": {"airplane_mode": True},
        },
    }
    file = tmp_path / "bundles.ndjson"
    file.write_text(json.dumps(bundle) + "\n{broken\n" + json.dumps(bundle) + "\n")
    result = runner.invoke(main, ["demarcate", str(file)])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert len(lines) == 3
    assert (lines[0]["verdict"]["domain"], lines[0]["verdict"]["cause"]) == ("terminal", "airplane_mode")
    assert "error" in lines[1]
    assert lines[2]["verdict"] == lines[0]["verdict"]
    assert "3 bundles, 1 bad" in result.stderr


def test_doctor_finds_what_is_wrong(runner: CliRunner) -> None:
    before = runner.invoke(main, ["doctor"], env={"CEM_PORT": "0"})
    assert before.exit_code == 1
    assert "run cem migrate" in before.stdout
    runner.invoke(main, ["migrate"])
    after = runner.invoke(main, ["doctor"], env={"CEM_PORT": "0"})
    assert after.exit_code == 0, after.stdout
    shifted = runner.invoke(main, ["doctor"], env={"CEM_PORT": "0", "CEM_CLOCK_OFFSET_S": "60"})
    assert shifted.exit_code == 1
    assert "rehearsals only" in shifted.stdout
