"""The policy's own words: fallback texts for when no model may answer or none can, and feedback to the generator.

No template names a method, a figure or a target, so none can break a ceiling. Nothing here calls a model.
"""

from collections.abc import Iterable
from typing import Literal

from topology.contract.labels import Mode, OutputLabels, Plan, Severity, Verdict
from topology.policy.bundle import LOCALE_DEFAULT, AddOn, HelpLine, PolicyBundle, region_of
from topology.policy.overlays import STRICTEST, TenantOverlay

Kind = Literal["safe_complete", "refuse", "withheld"]
"""The outcome of the drafts: answered within limits, refused, or held. A crisis has one text for all three."""

OFFERS_MAX = 2
"""The most offers in one template; more would read like a menu."""

PARAGRAPH = "\n\n"
EMERGENCY = "emergency_number"
HELPERS = {"acknowledgement": "acknowledgement_helper"}
"""The obligations that have other words for somebody who wants to help."""


def fallback(
    bundle: PolicyBundle,
    plan: Plan,
    *,
    kind: Kind,
    locale: str = LOCALE_DEFAULT,
    region: str = "",
    overlay: TenantOverlay = STRICTEST,
) -> str:
    """Return the text published instead of a draft, with everything that plan and tenant oblige it to contain.

    `locale` is a BCP 47 tag and falls back to English; `region` is two letters and, if empty, is taken from `locale`.
    """
    words = bundle.templates[_language(bundle, locale)]
    line = bundle.help_lines.get(region_of(locale, region))
    opening, closing = _frame(bundle, plan, kind, locale)
    obliged = (_obligation(words, name, line, plan, overlay) for name in _in_order(bundle, plan))
    return PARAGRAPH.join(_joined((*opening, *obliged, *closing, *overlay.must_include)))


def owed(
    bundle: PolicyBundle,
    plan: Plan,
    names: Iterable[str],
    *,
    locale: str = LOCALE_DEFAULT,
    region: str = "",
    overlay: TenantOverlay = STRICTEST,
) -> str:
    """Return the sentences of those obligations, one paragraph each, to be added to an answer that lacks them."""
    words = bundle.templates[_language(bundle, locale)]
    line = bundle.help_lines.get(region_of(locale, region))
    return PARAGRAPH.join(_joined(_obligation(words, name, line, plan, overlay) for name in names))


def feedback(bundle: PolicyBundle, verdict: Verdict, out: OutputLabels) -> str:
    """Return what the generator has to mend, by rule, category and level, one point a line, without any user text."""
    rows = {row.id: row.feedback for row in bundle.rules}
    lines = [rows.get(rule, "") for rule in verdict.rule_ids]
    over = verdict.severity_grade is not Severity.NONE
    found = [
        f"Seen in the draft: {finding.category} at detail {finding.detail_hi}."
        for finding in out.findings
        if over and finding.category in bundle.categories
    ]
    soft = [bundle.soft_rules[name].words for name in out.soft_violations if name in bundle.soft_rules]
    missing = [flag.removeprefix("missing:") for flag in verdict.flags if flag.startswith("missing:")]
    owed = [f"Still missing: {bundle.obligations[name].words}." for name in missing if name in bundle.obligations]
    return "\n".join(_joined((*lines, *found, *soft, *owed)))


def offer_words(bundle: PolicyBundle, names: Iterable[str], locale: str = LOCALE_DEFAULT) -> tuple[str, ...]:
    """Return the phrases of those offers that have one in this language, in order."""
    language = _language(bundle, locale)
    return tuple(bundle.offers[name][language] for name in names if language in bundle.offers.get(name, {}))


def _frame(bundle: PolicyBundle, plan: Plan, kind: Kind, locale: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts before and after the obligations. A safety mode keeps its own text, whatever the outcome."""
    words = bundle.templates[_language(bundle, locale)]
    if plan.mode is Mode.CRISIS_SUPPORT:
        closing = "crisis_closing_helper" if _has_style(bundle, plan, AddOn.HELPER) else "crisis_closing"
        return (), (words[closing],)
    if plan.mode is Mode.EMERGENCY_GUIDANCE:
        return (), (words["emergency_closing"],)
    opening = {"safe_complete": words["limit"], "refuse": words["inability"], "withheld": words["withheld"]}[kind]
    if _has_style(bundle, plan, AddOn.DELUSION):
        return (f"{words['grounding_opening']} {_offers(bundle, plan, locale)}",), ()
    if _has_style(bundle, plan, AddOn.AT_RISK):
        limit = words["withheld"] if kind == "withheld" else words["limit"]
        return (), (f"{limit} {_offers(bundle, plan, locale)}",)
    if plan.mode is Mode.HARD_REFUSE:
        return (words["withheld"] if kind == "withheld" else words["inability"],), ()
    return (f"{opening} {_offers(bundle, plan, locale)}",), ()


def _in_order(bundle: PolicyBundle, plan: Plan) -> tuple[str, ...]:
    """Return the obligations in the order of the text: what is urgent, or whose risk it is, comes first.

    Everybody in a crisis is told whom to call if anyone is in danger now, also where no check asks for it.
    """
    names = [*plan.must_include]
    if plan.mode is Mode.CRISIS_SUPPORT:
        names.append(EMERGENCY)
        if _has_style(bundle, plan, AddOn.HELPER):
            names = [HELPERS.get(name, name) for name in names]
    if _has_style(bundle, plan, AddOn.URGENT):
        names.insert(0, EMERGENCY)
    return tuple(dict.fromkeys(names))


def _has_style(bundle: PolicyBundle, plan: Plan, add_on: AddOn) -> bool:
    return bundle.add_ons[add_on].style in plan.style_profile.split("+")


def _offers(bundle: PolicyBundle, plan: Plan, locale: str) -> str:
    """Return one sentence with the plan's offers, or a general one if there are none in this language."""
    words = bundle.templates[_language(bundle, locale)]
    phrases = offer_words(bundle, plan.must_offer, locale)[:OFFERS_MAX]
    if not phrases:
        return words["offer_generic"]
    return words["offer"].format(offers=f", {words['offer_or']} ".join(phrases))


def _obligation(words: dict[str, str], name: str, line: HelpLine | None, plan: Plan, overlay: TenantOverlay) -> str:
    """Return one obligation's sentence, filled in for this region and tenant."""
    if name == "legal_notice":
        notices = [notice.text for notice in overlay.legal_notices if notice.category in plan.ceilings]
        return PARAGRAPH.join(notices) or words[name]
    if line is None or (name == "crisis_line" and not line.number):
        return words.get(f"{name}_generic", words.get(name, ""))
    return words.get(name, "").format(line=line.name, number=line.number, emergency=line.emergency)


def _language(bundle: PolicyBundle, locale: str) -> str:
    """Return the language of a locale if the policy has it, else English."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    return language if language in bundle.templates else LOCALE_DEFAULT


def _joined(texts: Iterable[str]) -> list[str]:
    """Return the texts that are not empty, each once, in order."""
    return [text for text in dict.fromkeys(texts) if text]
