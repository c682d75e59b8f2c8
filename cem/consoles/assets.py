"""The pages' own style sheet, script and icon: read once, served under a name that changes with their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

MEDIA_TYPES: Mapping[str, str] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its content, media type and fingerprint."""

    name: str
    content: bytes
    media_type: str
    fingerprint: str

    @property
    def path(self) -> str:
        """Where pages find it."""
        return f"/console/{self.fingerprint}/{self.name}"


def load_assets() -> Mapping[str, Asset]:
    """Read every file of the package's `static` folder."""
    found: dict[str, Asset] = {}
    for file in resources.files("cem.consoles").joinpath("static").iterdir():
        media_type = MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            fingerprint = hashlib.sha256(content).hexdigest()[:16]
            found[file.name] = Asset(file.name, content, media_type, fingerprint)
    return found
