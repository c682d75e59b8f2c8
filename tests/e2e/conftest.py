"""What every browser test stands on: the npm packages, the film, the browser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.media import make_film

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def npm() -> Path:
    """`node_modules` as the lock file has it; installed where it is missing or other."""
    modules = HERE / "node_modules"
    if _installed(modules) != _locked():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-progress"], cwd=HERE, check=True, timeout=120)
    return modules


def _locked() -> dict[str, str]:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    return {path: package["version"] for path, package in packages.items() if path}


def _installed(modules: Path) -> dict[str, str]:
    found = {}
    for path in _locked():
        file = modules.parent / path / "package.json"
        if file.is_file():
            found[path] = json.loads(file.read_text())["version"]
    return found


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the film's playlists and segments."""
    folder = tmp_path_factory.mktemp("film")
    make_film(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium with an empty profile; one per module, so that its loop ends with the module."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        try:
            yield started
        finally:
            started.close()
