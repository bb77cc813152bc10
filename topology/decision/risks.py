"""The risk that somebody is in: whether a turn touches a remembered one, whose it is, and whether it is acute. Pure."""

from topology.contract.conversation import FLOOR_MODES, ConversationState, RiskMemory
from topology.contract.labels import CategoryId, Leaning, RequestLabels, RiskSubject, Vulnerability
from topology.decision.ceilings import neighbours
from topology.policy.bundle import PolicyBundle

ACUTE = (Vulnerability.ACUTE_SELF_HARM, Vulnerability.HARM_TO_OTHERS, Vulnerability.IMMINENT_DANGER)
"""The risks that are met at once. A tuple: hashing an Enum is a call into Python."""

_TOUCHED: dict[Vulnerability, tuple[CategoryId, ...]] = {
    Vulnerability.AT_RISK: (CategoryId("self_harm.intent"),),
    Vulnerability.ACUTE_SELF_HARM: (CategoryId("self_harm.intent"),),
    Vulnerability.DELUSION_MANIA: (CategoryId("delusion_mania"),),
    Vulnerability.RADICALIZATION_RISK: (CategoryId("extremism"),),
    Vulnerability.HARM_TO_OTHERS: (CategoryId("wrongdoing.violent"), CategoryId("weapons.conventional")),
    Vulnerability.IMMINENT_DANGER: (CategoryId("dangerous_activity"),),
}
"""The categories which, with their neighbours, touch a remembered risk."""


def touched_risk(bundle: PolicyBundle, labels: RequestLabels, state: ConversationState) -> RiskMemory | None:
    """Return the remembered risk if the turn touches it: only then does it keep its mode.

    A turn does that with signs of any risk, with a finding of the same group of categories, if the labeller says so, or
    by closing right after a turn that did.
    """
    risk = state.risk
    if risk is None or labels.touches_risk or labels.vulnerability is not Vulnerability.NONE:
        return risk
    if labels.leaning is Leaning.CLOSES and (state.owes_line or risk.shown.turn == state.turns):
        return risk
    near = [name for anchor in _TOUCHED.get(risk.vulnerability, ()) for name in neighbours(bundle, anchor)]
    return risk if any(finding.category in near for finding in labels.findings) else None


def is_anothers(labels: RequestLabels, touched: RiskMemory | None) -> bool:
    """Return whether the risk that an answer is about is somebody else's; the user's own wins if there are both."""
    if touched is None:
        return labels.risk_subject is RiskSubject.OTHER
    subjects = [touched.subject]
    if labels.vulnerability in FLOOR_MODES:
        subjects.append(labels.risk_subject)
    return RiskSubject.SELF not in subjects


def shows_acute_risk(bundle: PolicyBundle, labels: RequestLabels) -> bool:
    """Return whether the turn itself has signs of an acute risk; what earlier answers named does not meet those."""
    if labels.vulnerability in ACUTE:
        return True
    return any(bundle.categories[finding.category].force_mode is not None for finding in labels.findings)
