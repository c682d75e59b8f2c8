"""The service under the browser's tests: `cem serve --no-demo` as a process of its own."""

from __future__ import annotations

from tests.processes import Service

__all__ = ["Service"]
