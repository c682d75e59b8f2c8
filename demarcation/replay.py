"""Verdicts again from what was stored: the same bundle gives the same verdict, bit for bit, without a server.

NDJSON in, NDJSON out. A line that cannot be replayed becomes an error line and never stops the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from demarcation.casefile import BUNDLE_FORMAT, BundleError, CaseFile, casefile_from_raw, read_casefile
from demarcation.decide import DecisionSettings, decide
from demarcation.rules import RuleSet, load_shipped_rules
from demarcation.taxonomy import Taxonomy, load_taxonomy
from demarcation.verdict import ENGINE_VERSION, Verdict

LONGEST_LINE = 4_194_304
"""A longer line is an error line. [B] Chosen here: a bundle takes a few dozen kilobytes."""

_encode = msgspec.json.Encoder(order="sorted").encode
"""Canonical JSON: sorted members, so that equal values are equal bytes."""


def make_bundle(
    case: CaseFile, rules: RuleSet, taxonomy: Taxonomy, settings: DecisionSettings
) -> dict[str, Any]:
    """Everything needed to reach the same verdict again."""
    return {
        "format": BUNDLE_FORMAT,
        "engine": ENGINE_VERSION,
        "ruleset": {"version": rules.version, "sha256": rules.sha256},
        "taxonomy": {"version": taxonomy.version, "sha256": taxonomy.sha256},
        "model_sha256": None,
        "settings": settings.document(),
        "case": case.document(),
    }


def replay(
    bundle: Mapping[str, Any], rules: RuleSet | None = None, taxonomy: Taxonomy | None = None
) -> Verdict:
    """The verdict of a stored or a raw bundle, by the given rules (the shipped ones by default).

    Raises
    ------
    BundleError
        The bundle cannot be read.
    """
    rules = rules or load_shipped_rules()
    taxonomy = taxonomy or load_taxonomy()
    if "case" in bundle:
        if bundle.get("format") != BUNDLE_FORMAT:
            raise BundleError(f"format {bundle.get('format')!r} is not one this version reads")
        case, settings = read_casefile(_mapping(bundle, "case")), _settings(bundle.get("settings", {}))
    else:
        apns = bundle.get("provisioned_apns", ())
        case = casefile_from_raw(
            bundle, provisioned_apns=[str(apn) for apn in apns] if isinstance(apns, list) else ()
        )
        settings = DecisionSettings()
    return decide(case, rules, taxonomy, settings)


def encode_verdict(verdict: Verdict) -> bytes:
    """A verdict's canonical JSON."""
    return _encode(verdict.document())


def replay_stream(lines: Iterable[bytes], rules: RuleSet) -> Iterator[bytes]:
    """One line of canonical JSON for every line that is not blank, in order.

    Yields
    ------
    `{"line", "ruleset", "same_rules", "verdict"}`, where `same_rules` is null for a raw bundle; or
    `{"error": {"detail"}, "line"}`.
    """
    taxonomy = load_taxonomy()
    used = {"version": rules.version, "sha256": rules.sha256}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if len(line) > LONGEST_LINE:
                raise BundleError(f"a line is longer than {LONGEST_LINE} bytes")
            bundle = msgspec.json.decode(line)
            if not isinstance(bundle, dict):
                raise BundleError("a bundle is a JSON object")
            verdict = replay(bundle, rules, taxonomy)
            stored = bundle.get("ruleset")
            same = stored.get("sha256") == rules.sha256 if isinstance(stored, dict) else None
        except (BundleError, msgspec.DecodeError, RecursionError, ValueError) as error:
            # `error` first: readers of the stream tell bad lines by their beginning
            yield b'{"error":' + _encode({"detail": str(error)[:500]}) + b',"line":%d}\n' % number
            continue
        yield (
            _encode({"line": number, "ruleset": used, "same_rules": same, "verdict": verdict.document()})
            + b"\n"
        )


def _mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if not isinstance(value, Mapping):
        raise BundleError(f"{name!r} is not an object")
    return value


def _settings(document: Any) -> DecisionSettings:
    known = DecisionSettings.__slots__
    if not isinstance(document, Mapping) or set(document) - set(known):
        raise BundleError(f"'settings' holds something else than {', '.join(known)}")
    try:
        return DecisionSettings(**{name: float(value) for name, value in document.items()})
    except (TypeError, ValueError) as error:
        raise BundleError(f"'settings': {error}") from error
