"""Rules and peers → one verdict: side, cause, confidence, reasons for and against, what is missing.

The question is put as a small Bayesian network. Each cause is present or not, with an expert prior. A fired or not
fired rule multiplies a cause's odds by its strength; symptoms are a noisy-OR of the causes present, with a leak for
what nobody thought of. Compared are: nothing wrong, something unknown, each cause alone, and each pair of the
likeliest causes, so that two faults at once are found and not mixed into one.

Pure and deterministic: the same case file, rules and settings give the same verdict, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from demarcation.casefile import CaseFile
from demarcation.conditions import Ternary
from demarcation.evidence import Evidence, EvidenceSet, Origin, catalogue, make_evidence
from demarcation.peers import ANOMALOUS_LOG10, SHARED_DIMENSIONS, PeerFactor, shared_health, weigh_peers
from demarcation.rules import Rule, RuleSet, RuleState, evaluate
from demarcation.symptoms import Symptoms, derive_symptoms
from demarcation.taxonomy import FAULT_DOMAINS, UNKNOWN_PRIOR, Domain, Taxonomy, Text
from demarcation.verdict import NextStep, Reason, Suspect, Verdict, advice_of

HEALTHY = "healthy"

STRONGEST_PEERS = 9.0
"""Peer factors are cut here: more says nothing more. [log10]"""


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """What an operator can turn. All probabilities. [1, 0–1]

    Parameters
    ----------
    decide_from
        A side is named from this probability on; below, the verdict is `undetermined`. Chosen here: clearly
        more likely than not.
    secondary_from
        A second cause is named from here on.
    leak_measured, leak_stated
        How likely a measured (a stated) symptom shows up although no cause present explains it. Chosen here: a
        measurement is seldom wrong, a customer's word may be about something else.
    healthy_measured, healthy_stated
        How likely a measured (a stated) symptom shows up although nothing is wrong. Chosen here: many who tap
        "check" are fine by the time they do.
    highest
        No verdict claims more: priors are expert judgement.
    """

    decide_from: float = 0.6
    secondary_from: float = 0.5
    leak_measured: float = 0.05
    leak_stated: float = 0.3
    healthy_measured: float = 0.002
    healthy_stated: float = 0.3
    highest: float = 0.99

    def document(self) -> dict[str, float]:
        """JSON values, for the bundle."""
        return {name: float(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class _Pull:
    """One rule's strength for one cause."""

    rule: Rule
    group: str
    log10: float


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    causes: tuple[str, ...]
    weight: float


def decide(case: CaseFile, rules: RuleSet, taxonomy: Taxonomy, settings: DecisionSettings) -> Verdict:
    """The verdict on a case file. See the module's text for the method."""
    factors = weigh_peers(case.peers)
    facts = EvidenceSet([*case.evidence, *_peer_evidence(case, factors)])
    symptoms = derive_symptoms(facts, case.stated)
    states = evaluate(rules, facts, symptoms.all, case.service)
    pulls = _pulls(states, taxonomy)
    healthy_shown = _health_shown(states, symptoms)
    hypotheses = _hypotheses(pulls, rules, taxonomy, symptoms, case.service, settings, healthy_shown)
    vetoes = _vetoes(states, facts)
    if vetoes:
        kept = [one for one in hypotheses if not vetoes.isdisjoint(one.causes)]
        hypotheses = kept or hypotheses
    present, sides = _marginals(hypotheses, taxonomy)
    domain, cause = _choose(sides, present, taxonomy, settings)
    return _compose(case, domain, cause, sides, present, pulls, states, facts, symptoms, taxonomy, settings)


def _marginals(
    hypotheses: Sequence[_Hypothesis], taxonomy: Taxonomy
) -> tuple[dict[str, float], dict[str, float]]:
    """Probability of each cause, and of each side (and `unknown`) having a fault."""
    total = sum(one.weight for one in hypotheses)
    present = dict.fromkeys((cause.id for cause in taxonomy.faults()), 0.0)
    sides = dict.fromkeys((*(domain.value for domain in (*FAULT_DOMAINS, Domain.NO_FAULT)), "unknown"), 0.0)
    for one in hypotheses:
        share = one.weight / total
        for cause in one.causes:
            if cause != HEALTHY:
                present[cause] += share
        for side in {taxonomy[cause].domain.value for cause in one.causes} or {"unknown"}:
            sides[side] += share
    return present, sides


def _peer_evidence(case: CaseFile, factors: Sequence[PeerFactor]) -> list[Evidence]:
    healthy, anomalous = shared_health(factors)
    values: list[tuple[str, Any]] = [
        (f"peers.{f.dimension}", min(max(f.log10, -STRONGEST_PEERS), STRONGEST_PEERS))
        for f in factors
        if f.users > 0
    ]
    values += [("peers.shared_healthy", healthy), ("peers.shared_anomalous", anomalous)]
    made = (
        make_evidence(key, value, origin=Origin.PEERS, observed_at=case.at, received_at=case.at, at=case.at)
        for key, value in values
    )
    return [fact for fact in made if fact is not None]


def _pulls(states: Iterable[RuleState], taxonomy: Taxonomy) -> dict[str, list[_Pull]]:
    """Strengths by cause, one per group: the strongest of a group that reads the same fact."""
    strongest: dict[tuple[str, str], _Pull] = {}

    def add(cause: str, pull: _Pull) -> None:
        old = strongest.get((cause, pull.group))
        if pull.log10 and (old is None or (abs(pull.log10), pull.log10) > (abs(old.log10), old.log10)):
            strongest[cause, pull.group] = pull

    for state in states:
        if state.state is Ternary.UNKNOWN or not state.explains:
            continue
        rule = state.rule
        if rule.cause:
            add(rule.cause, _Pull(rule, rule.group, round(state.strength * state.weight, 6)))
        if state.state is Ternary.FIRED:
            for target, log10 in rule.also.items():
                group = rule.group if log10 > 0 else f"{rule.group}/against"
                for cause in _targets(target, taxonomy):
                    add(cause, _Pull(rule, group, round(log10 * state.weight, 6)))
    pulls: dict[str, list[_Pull]] = {}
    for (cause, _), pull in sorted(strongest.items()):
        pulls.setdefault(cause, []).append(pull)
    return pulls


def _targets(target: str, taxonomy: Taxonomy) -> list[str]:
    kind, _, name = target.partition(":")
    if not name:
        return [target]
    field = "domain" if kind == "domain" else "segment"
    return [cause.id for cause in taxonomy.faults() if getattr(cause, field) == name]


def _hypotheses(
    pulls: Mapping[str, Sequence[_Pull]],
    rules: RuleSet,
    taxonomy: Taxonomy,
    symptoms: Symptoms,
    service: str,
    settings: DecisionSettings,
    healthy_shown: bool,
) -> list[_Hypothesis]:
    """Everything compared, with unnormalised weights."""

    present = sorted(symptoms.all)
    leaks = [
        (symptom, settings.leak_measured if symptom in symptoms.measured else settings.leak_stated)
        for symptom in present
    ]

    def weight(causes: tuple[str, ...]) -> float:
        found = 1.0
        for cause in causes:
            found *= taxonomy[cause].prior
        for symptom, leak in leaks:
            if not any(symptom in rules.explained.get(cause, ()) for cause in causes):
                found *= leak
        return found * 10 ** _log10(pulls, causes)

    found = [_Hypothesis((), UNKNOWN_PRIOR)]
    healthy = taxonomy[HEALTHY].prior * 10 ** _log10(pulls, (HEALTHY,))
    for symptom in present:
        healthy *= settings.healthy_measured if symptom in symptoms.measured else settings.healthy_stated
    if not healthy_shown:  # without positive evidence of health it is no more than its prior
        healthy = min(healthy, taxonomy[HEALTHY].prior)
    found.append(_Hypothesis((HEALTHY,), healthy))
    single = {
        cause.id: weight((cause.id,)) for cause in taxonomy.faults() if rules.concerns(cause.id, service)
    }
    found += [_Hypothesis((cause,), one) for cause, one in single.items()]
    likeliest = sorted(single, key=lambda cause: (-single[cause], cause))[:8]
    found += [_Hypothesis(pair, weight(pair)) for pair in combinations(sorted(likeliest), 2)]
    return found


def _log10(pulls: Mapping[str, Sequence[_Pull]], causes: Sequence[str]) -> float:
    """Joint strength for causes present together: one fact counts once, for the cause it speaks for most."""
    if len(causes) == 1:
        total = sum(pull.log10 for pull in pulls.get(causes[0], ()))
    else:
        highest: dict[str, float] = {}
        lowest: dict[str, float] = {}
        for cause in causes:
            for pull in pulls.get(cause, ()):
                highest[pull.group] = max(highest.get(pull.group, 0.0), pull.log10)
                lowest[pull.group] = min(lowest.get(pull.group, 0.0), pull.log10)
        total = sum(highest[group] + lowest[group] for group in sorted(highest))
    return min(max(total, -8.0), 8.0)


def _health_shown(states: Iterable[RuleState], symptoms: Symptoms) -> bool:
    """Positive evidence of health: a healthy snapshot, a second healthy kind, and no measured symptom."""
    kinds = {s.rule.health for s in states if s.rule.health and s.state is Ternary.FIRED and s.weight > 0}
    return "snapshot" in kinds and len(kinds) > 1 and not symptoms.measured


def _vetoes(states: Iterable[RuleState], facts: EvidenceSet) -> frozenset[str]:
    """Hard facts that settle it: fired, able to explain, and no shared segment anomalous."""
    shared = [facts.number(f"peers.{name}") or 0.0 for name in SHARED_DIMENSIONS]
    if any(factor >= ANOMALOUS_LOG10 for factor in shared):
        return frozenset()
    if facts.value("peers.shared_anomalous") is True or (facts.number("orders.count") or 0) > 0:
        return frozenset()
    if any(fact.value is True for key, fact in facts.items() if key.startswith("alarm.")):
        return frozenset()
    return frozenset(
        state.rule.cause
        for state in states
        if state.rule.veto and state.state is Ternary.FIRED and state.explains and state.weight > 0
    )


def _choose(
    sides: Mapping[str, float], present: Mapping[str, float], taxonomy: Taxonomy, settings: DecisionSettings
) -> tuple[Domain, str]:
    domain = max((*FAULT_DOMAINS, Domain.NO_FAULT), key=lambda one: (round(sides[one.value], 9), one.value))
    if sides[domain.value] < settings.decide_from:
        return Domain.UNDETERMINED, ""
    if domain is Domain.NO_FAULT:
        return domain, HEALTHY
    mine = [cause for cause in present if taxonomy[cause].domain is domain]
    return domain, max(mine, key=lambda cause: (round(present[cause], 9), cause))


def _compose(
    case: CaseFile,
    domain: Domain,
    cause: str,
    sides: Mapping[str, float],
    present: Mapping[str, float],
    pulls: Mapping[str, Sequence[_Pull]],
    states: Sequence[RuleState],
    facts: EvidenceSet,
    symptoms: Symptoms,
    taxonomy: Taxonomy,
    settings: DecisionSettings,
) -> Verdict:
    ranked = sorted(present, key=lambda one: (-round(present[one], 9), one))
    suspects = tuple(
        Suspect(one, taxonomy[one].domain, round(present[one], 4))
        for one in ranked[:5]
        if present[one] >= 0.005
    )
    secondary = tuple(
        one for one in suspects if one.cause != cause and one.probability >= settings.secondary_from and cause
    )
    leading = [cause] if cause else ranked[:3]
    reasons = [_reason(one, pull, facts) for one in leading for pull in pulls.get(one, ())]
    against = [reason for reason in reasons if reason.log10 < 0]
    for one in [*ranked[:5], HEALTHY]:
        if one not in leading and (one == HEALTHY or taxonomy[one].domain is not domain):
            against += [_reason(one, p, facts) for p in pulls.get(one, ()) if p.log10 >= 0.5]
    noted = [
        _reason(state.rule.cause, _Pull(state.rule, state.rule.group, 0.0), facts)
        for state in states
        if state.state is Ternary.FIRED
        and not state.explains
        and state.rule.fired > 0
        and ":" not in state.rule.id
    ]
    confidence = sides.get(domain.value, max(sides[one.value] for one in (*FAULT_DOMAINS, Domain.NO_FAULT)))
    named = [cause, *(one.cause for one in secondary)] if cause else []
    return Verdict(
        domain=domain,
        cause=cause,
        confidence=round(min(confidence, settings.highest), 4),
        cause_confidence=round(
            min(sides["no_fault"] if cause == HEALTHY else present.get(cause, 0.0), settings.highest), 4
        ),
        sides={name: round(value, 4) for name, value in sides.items()},
        suspects=suspects,
        secondary=secondary,
        symptoms=tuple(sorted(symptoms.all)),
        reasons_for=tuple(
            sorted((r for r in reasons if r.log10 > 0), key=lambda r: (-r.log10, r.rule, r.cause))
        ),
        reasons_against=tuple(sorted(against, key=lambda r: (-abs(r.log10), r.rule, r.cause))[:12]),
        noted=tuple(noted),
        missing=case.missing,
        would_settle=_would_settle(states, present, facts, cause),
        summary=_summary(cause, reasons, symptoms, taxonomy),
        advice=tuple(advice_of(taxonomy[one]) for one in named),
        covered_by=case.orders,
    )


def _reason(cause: str, pull: _Pull, facts: EvidenceSet) -> Reason:
    read = tuple((key, facts[key].value) for key in sorted(set(pull.rule.reads)) if key in facts)
    says = pull.rule.says
    if pull.log10 < 0 and pull.rule.cause == cause and pull.rule.fired > 0:
        says = Text(f"不是这样：{says.zh}", f"Not so: {says.en[:1].lower()}{says.en[1:]}")
    return Reason(pull.rule.id, cause, says, pull.log10, read)


def _would_settle(
    states: Sequence[RuleState],
    present: Mapping[str, float],
    facts: EvidenceSet,
    cause: str,
) -> tuple[NextStep, ...]:
    """Unknown facts by how far they could move the causes still open; none where the verdict stands firm."""
    if cause and (cause == HEALTHY or present.get(cause, 0.0) >= 0.95):
        return ()
    gains: dict[str, float] = {}
    for state in states:
        chance = present.get(state.rule.cause, 0.0)
        if state.state is not Ternary.UNKNOWN or not state.explains or chance < 0.005:
            continue
        reach = max(
            abs(state.rule.fired), abs(state.rule.not_fired), abs(state.rule.cap), abs(state.rule.floor)
        )
        for key in state.rule.reads:
            if key not in facts:
                gains[key] = gains.get(key, 0.0) + chance * reach
    best = sorted(gains, key=lambda key: (-round(gains[key], 9), key))[:5]
    return tuple(
        NextStep(key, catalogue()[key].label, catalogue()[key].source, round(gains[key], 4)) for key in best
    )


def _summary(cause: str, reasons: Sequence[Reason], symptoms: Symptoms, taxonomy: Taxonomy) -> Text:
    if not cause:
        if symptoms.measured:
            return Text(
                "确有异常，但现有证据不足以判定在哪一侧",
                "Something is wrong, but the evidence does not tell on which side",
            )
        return Text("证据不足，暂不能判定", "Not enough evidence to tell")
    best = sorted((r for r in reasons if r.log10 > 0), key=lambda r: (-r.log10, r.rule))[:2]
    meaning = taxonomy[cause].meaning
    if not best:
        return meaning
    return Text(
        f"{meaning.zh}。依据：" + "；".join(dict.fromkeys(reason.says.zh for reason in best)) + "。",
        f"{meaning.en}. Because: " + "; ".join(dict.fromkeys(reason.says.en for reason in best)) + ".",
    )
