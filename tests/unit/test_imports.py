"""Imports point one way: the contracts in pyproject.toml hold, and they would notice if they did not."""

from pathlib import Path

from importlinter.cli import EXIT_STATUS_ERROR, EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[2]


def test_imports_point_one_way(tmp_path: Path) -> None:
    assert (
        lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=str(tmp_path))
        == EXIT_STATUS_SUCCESS
    )


def test_a_wrong_arrow_is_noticed(tmp_path: Path) -> None:
    """The room above imports the platform; forbidding that must fail, or the reader of imports is blind."""
    config = tmp_path / "wrong.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["cem"]\n'
        '[[tool.importlinter.contracts]]\nname = "wrong"\ntype = "forbidden"\n'
        'source_modules = ["cem.worker"]\nforbidden_modules = ["cem.platform"]\n'
    )
    assert lint_imports(config_filename=str(config), cache_dir=str(tmp_path)) == EXIT_STATUS_ERROR
