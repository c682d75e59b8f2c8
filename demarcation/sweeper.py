"""Finishes self-checks whose process died: past their deadline and without a verdict.

Such a check gets the verdict that its snapshot alone allows, with every other source listed as missing. Should the
first process come back after all, its verdict becomes a further version.
"""

from __future__ import annotations

from dataclasses import replace

from cem.platform.clock import Clock
from cem.platform.db import Database
from cem.platform.observe import get_logger
from demarcation import repository
from demarcation.acceptance import initial_case
from demarcation.decide import decide
from demarcation.models import SelfCheck
from demarcation.ports import VerdictHook
from demarcation.replay import make_bundle
from demarcation.repository import StoredEvent
from demarcation.rules import RuleSet
from demarcation.settings import SelfCheckSettings
from demarcation.taxonomy import Taxonomy
from demarcation.verdict import MissingSource
from demarcation.verdict_store import Conclusion, store_conclusion

_log = get_logger("demarcation.sweeper")

LONGEST_TOOK_MS = 2**31 - 1
"""What the column holds. [ms] 24 days."""

BATCH = 20
"""Checks finished in one transaction. [1]"""


class SelfCheckSweeper:
    """A background job; see the module."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: SelfCheckSettings,
        rules: RuleSet,
        taxonomy: Taxonomy,
        *,
        source_names: tuple[str, ...] = ("line", "orders", "peers"),
        on_verdict: VerdictHook | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._rules = rules
        self._taxonomy = taxonomy
        self._source_names = source_names
        self._on_verdict = on_verdict

    def tick(self) -> int:
        """Finish what was left behind, at most a batch; answers how many."""
        now = self._clock.now()
        with self._database.write() as session:
            found = repository.left_behind(session, now - self._settings.sweep_grace, BATCH)
            for check in found:
                case = replace(initial_case(check, self._settings), missing=self._missing(check))
                verdict = decide(case, self._rules, self._taxonomy, self._settings.decision)
                bundle = make_bundle(case, self._rules, self._taxonomy, self._settings.decision)
                took_ms = min(round((now - check.accepted_at).total_seconds() * 1000), LONGEST_TOOK_MS)
                conclusion = Conclusion(verdict, bundle, self._rules.sha256, now, took_ms, "left behind")
                last = repository.last_sequence(session, check.id)
                event = StoredEvent(last + 1, "verdict", now, {})
                rules = self._rules
                repository.keep_ruleset(session, rules.sha256, rules.version, rules.text, now)
                store_conclusion(session, check, conclusion, [event], self._on_verdict)
        if found:
            _log.warning("finished self-checks left behind", count=len(found))
        return len(found)

    def _missing(self, check: SelfCheck) -> tuple[MissingSource, ...]:
        budget_ms = round((check.deadline_at - check.accepted_at).total_seconds() * 1000)
        return tuple(MissingSource(name, "the process ended", budget_ms) for name in self._source_names)
