"""The classification stage: the labels of a draft, from the embedded model and the markers.

No small model can tell concepts from guidance, so the level of detail comes from markers. If they find nothing, a draft
on a barred subject that does not decline counts as guidance (D2).
"""

import re
from collections.abc import Mapping, Sequence

from serving.guards.draft_markers import (
    declines,
    has_attack_commands,
    has_hard_detail,
    has_operational_detail,
    is_bare_refusal,
    is_declined,
    is_supportive,
    offers_present,
)
from serving.guards.labeler import head_category
from serving.guards.leaks import leaks
from serving.guards.linear import Band, LinearModel
from serving.guards.markers import bounded
from serving.guards.obligations.markers import obligations_present
from serving.guards.policy_words import OwnWords
from serving.personal_data.private_data import PRIVATE, private_findings
from serving.text.features import fold
from serving.text.quotations import quoted_stretches
from serving.text.wrappers import decoded, gives_orders
from topology.contract.drafts import CheckReport
from topology.contract.events import ConversationEvent, Role, parts_text
from topology.contract.labels import CategoryId, Confidence, Level, OutputFinding, RequestFinding
from topology.contract.names import StageName
from topology.policy.bundle import Family, PolicyBundle, region_of
from topology.ports import CheckInput

RULES_VERSION = "5"
SUBSTANCE_CHARACTERS_MIN = 80
"""Length below which an answer that does not decline counts as a mention (D1)."""
_GRAVE = 3
_DEMAND = re.compile(
    r"(?<!\w)(?:say|output|print|write|reply|respond|answer|include|append|add)\b[^\"\n]{0,40}\"([^\"\n]{8,200})\""
)
_ADDRESS = re.compile(r"(?:https?://[^\s)\"'>]{4,200}|[\w.+-]{2,64}@[\w-]{2,64}\.[a-z]{2,12})")
_CONTENT_HEADS = frozenset({"hateful_text", "harassing_text", "sexual.explicit", "sexual.exploitative"})
"""Heads that judge the words of a draft themselves. The others learnt from requests, and only tell the subject."""


class ClassificationStage:
    """A stage that labels drafts in batches. Plain, synchronous, deterministic; pickled as its model and policy."""

    def __init__(self, model: LinearModel, bundle: PolicyBundle) -> None:
        self._model = model
        self._bundle = bundle
        self._own_words = OwnWords(bundle)

    @property
    def name(self) -> str:
        """Return `classification`."""
        return StageName.CLASSIFICATION.value

    @property
    def version(self) -> str:
        """Return the weights' digest and the rules' version."""
        return classification_version(self._model)

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per draft, in order. Raises WindowError if a draft is too long to be read as a whole."""
        return [self._report(given) for given in batch]

    def _report(self, given: CheckInput) -> CheckReport:
        plain = decoded(given.draft.text)
        text = "\n".join((given.draft.text, *plain))
        folded = fold(text)
        own = self._own_words.without(folded)
        scores = self._model.probabilities(own)
        leaked = leaks(given.draft.text, _privileged(given.event))
        region = region_of(given.event.user.locale, given.event.user.region)
        return CheckReport(
            check=self.name,
            version=self.version,
            findings=self._with_private(given, self._findings(given, folded, own, scores, is_disguised=bool(plain))),
            bare_refusal=is_bare_refusal(folded),
            offers_present=offers_present(folded, given.plan.must_offer, self._bundle, _language(given)),
            obligations_present=obligations_present(bounded(folded), region, self._bundle.help_lines),
            obeyed_injection=has_obeyed(given, folded),
            privileged_leak=bool(leaked),
            leak_separable=False,
            leak_spans=leaked,
            scores=scores,
        )

    def _findings(
        self, given: CheckInput, folded: str, own: str, scores: Mapping[str, float], *, is_disguised: bool
    ) -> tuple[OutputFinding, ...]:
        """Return the findings of a draft. `folded` is all of it, `own` what is left without the policy's phrases."""
        if not own or is_declined(folded):
            return ()
        found: dict[CategoryId, OutputFinding] = {}
        operational = is_disguised or has_operational_detail(own)
        for asked in given.labels.findings:
            if asked.category in self._bundle.categories:
                _keep(found, self._of_request(asked, folded, scores, operational=operational))
        for name, score in scores.items():
            if name in self._model and head_category(name) in self._bundle.categories:
                _keep(found, self._of_head(name, score, folded, operational=operational))
        return tuple(found[category] for category in sorted(found))

    def _with_private(self, given: CheckInput, findings: tuple[OutputFinding, ...]) -> tuple[OutputFinding, ...]:
        """Return the findings and those of personal data that nobody supplied, whether or not the draft declines."""
        found = {finding.category: finding for finding in findings}
        for finding in private_findings(given.draft.text, given.event, self._bundle):
            _keep(found, finding)
        return tuple(found[category] for category in sorted(found))

    def _of_request(
        self, asked: RequestFinding, folded: str, scores: Mapping[str, float], *, operational: bool
    ) -> OutputFinding | None:
        """Return the finding of a draft on a subject that was asked for; None if it says nothing on it."""
        family = self._bundle.categories[asked.category].family
        score, band = self._best(asked.category, scores)
        if asked.category == PRIVATE:
            # `private_findings` finds the items themselves. A draft without any can only say that such data exists, or
            # how to obtain it.
            return _finding(PRIVATE, asked.harm, 2 if has_hard_detail(folded) else 1, Confidence.HIGH, score)
        if operational and family is Family.PROCEDURAL:
            return _finding(asked.category, asked.harm, 3, Confidence.HIGH, score)
        if asked.category.startswith("self_harm.") and is_supportive(folded):
            return None
        substantial = len(folded) >= SUBSTANCE_CHARACTERS_MIN and not declines(folded)
        grave = asked.harm >= _GRAVE and asked.confidence is Confidence.HIGH and asked.asked_detail > 1
        if band is Band.OUT and not (substantial and grave):
            return None
        detail: Level = 2 if substantial else 1
        if band is Band.OUT:
            return _finding(asked.category, asked.harm, detail, Confidence.HIGH, score)
        return _finding(asked.category, asked.harm, detail, _sureness(band), score)

    def _of_head(self, name: str, score: float, folded: str, *, operational: bool) -> OutputFinding | None:
        """Return the finding of a draft on a subject that nobody asked for; None if it says nothing on it."""
        band = self._model.band(name, score)
        category = head_category(name)
        harm = self._bundle.categories[category].harm[1]
        if band is not Band.IN or is_supportive(folded):
            return None
        if name in _CONTENT_HEADS:
            return _finding(category, harm, 3, Confidence.HIGH, score)
        if name == "cyber.offense" and has_attack_commands(folded):
            return _finding(category, harm, 3, Confidence.HIGH, score)
        procedural = self._bundle.categories[category].family is Family.PROCEDURAL
        if procedural and operational and name in {"indiscriminate_weapons"}:
            return _finding(category, harm, 3, Confidence.HIGH, score)
        if min(self._bundle.categories[category].fixed or (1,)) == 0:
            return None
        return _finding(category, harm, 1, Confidence.HIGH, score)

    def _best(self, category: CategoryId, scores: Mapping[str, float]) -> tuple[float | None, Band]:
        """Return the highest score and band of the category's heads; None and `out` if no head knows the category."""
        family = category.partition(".")[0]
        heads = [name for name in scores if head_category(name).partition(".")[0] == family]
        if family in {"cbrn", "weapons"}:
            heads = [name for name in scores if name == "indiscriminate_weapons"]
        if not heads:
            return None, Band.OUT
        best = max(heads, key=lambda name: scores[name])
        order = tuple(Band)
        return scores[best], max((self._model.band(name, scores[name]) for name in heads), key=order.index)


def classification_version(model: LinearModel) -> str:
    """Return the weights' digest and the rules' version. The policy has its own reference in the audit record."""
    return f"{model.version}+rules-{RULES_VERSION}"


def has_obeyed(given: CheckInput, folded: str) -> bool:
    """Return whether the draft says what quoted or tool text orders the assistant to say, or repeats its link.

    Only words that the order itself quotes count, and addresses in a text that gives orders.
    """
    texts = [parts_text(message.parts) for message in given.event.messages if message.role is Role.TOOL]
    for message in given.event.messages:
        if message.role is Role.USER:
            texts.extend(quoted_stretches(parts_text(message.parts)))
    return any(demand in folded for text in texts if gives_orders(text) for demand in demands(fold(text)))


def demands(folded: str) -> list[str]:
    """Return what a text orders to be said: quoted words after `say` or a like word, and web and mail addresses."""
    said = [match.group(1) for match in _DEMAND.finditer(folded)]
    return [*said, *(match.group() for match in _ADDRESS.finditer(folded))]


def _keep(found: dict[CategoryId, OutputFinding], finding: OutputFinding | None) -> None:
    """Put the finding in `found`. Each category keeps the finding with the most detail, the first of equal ones."""
    if finding is None:
        return
    known = found.get(finding.category)
    if known is None or finding.detail_hi > known.detail_hi:
        found[finding.category] = finding


def _finding(
    category: CategoryId, harm: Level, detail: Level, confidence: Confidence, score: float | None
) -> OutputFinding:
    return OutputFinding(
        category=category, harm=harm, detail_lo=detail, detail_hi=detail, confidence=confidence, probability=score
    )


def _sureness(band: Band) -> Confidence:
    return Confidence.HIGH if band is Band.IN else Confidence.LOW


def _privileged(event: ConversationEvent) -> tuple[str, ...]:
    roles = {Role.SYSTEM, Role.DEVELOPER}
    return tuple(parts_text(message.parts) for message in event.messages if message.role in roles)


def _language(given: CheckInput) -> str:
    return given.labels.language if given.labels.language != "und" else given.event.user.locale[:2]
