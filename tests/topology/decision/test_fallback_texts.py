"""Every fallback text, word for word: each mode in each language, with and without a region's help line."""

from itertools import product
from pathlib import Path

import pytest
from msgspec import structs

from tests.topology.decision.policy_world import ADULT, OPEN, bundle, labels, request_cases
from topology.contract.labels import (
    CategoryId,
    Intent,
    Mode,
    Plan,
    RequestFinding,
    RequestLabels,
    RiskSubject,
    Urgency,
    Vulnerability,
)
from topology.decision.plan import plan
from topology.decision.templates import Kind, fallback

GOLDEN = Path(__file__).parent / "golden" / "fallback_texts.txt"
CASES = {
    Mode.DIRECT_ANSWER: 1,
    Mode.SAFE_COMPLETION: 48,
    Mode.REFUSE_REDIRECT: 34,
    Mode.HARD_REFUSE: 10,
    Mode.EMERGENCY_GUIDANCE: 66,
    Mode.CRISIS_SUPPORT: 29,
}
"""A worked example of each mode."""
TEEN, DELUSION = 20, 33
KINDS: dict[Mode, tuple[Kind, ...]] = {
    Mode.EMERGENCY_GUIDANCE: ("withheld",),
    Mode.CRISIS_SUPPORT: ("withheld",),
}
"""Where what became of the drafts changes nothing, one kind stands for all."""


MEANS = RequestFinding(category=CategoryId("wrongdoing.violent"), harm=4, intent=Intent.MALICIOUS, asked_detail=3)
AT_RISK = {
    "at_risk": labels(vulnerability=Vulnerability.AT_RISK),
    "urgent": structs.replace(labels(vulnerability=Vulnerability.ACUTE_SELF_HARM), urgency=Urgency.NOW),
    "helper": structs.replace(labels(vulnerability=Vulnerability.ACUTE_SELF_HARM), risk_subject=RiskSubject.OTHER),
    "means": labels(MEANS, vulnerability=Vulnerability.HARM_TO_OTHERS),
}


def _at_risk(seen: RequestLabels) -> Plan:
    return plan(bundle(), seen, overlay=OPEN, user=ADULT, grants=())


def on_record() -> str:
    """The golden file, as it would be written now."""
    plans = {mode.value: request_cases()[case].plan() for mode, case in CASES.items()}
    plans |= {"teen": request_cases()[TEEN].plan(), "delusion": request_cases()[DELUSION].plan()}
    plans |= {name: _at_risk(seen) for name, seen in AT_RISK.items()}
    return "".join(_shown(locale, name, made) for locale in sorted(bundle().templates) for name, made in plans.items())


def _shown(locale: str, name: str, made: Plan) -> str:
    kinds = KINDS.get(made.mode, ("safe_complete", "refuse", "withheld"))
    regions = ("", "AT") if made.mode in KINDS or "crisis_line" in made.must_include else ("",)
    return "".join(
        f"=== {locale} {name} {kind} {region}\n{fallback(bundle(), made, kind=kind, locale=locale, region=region)}\n"
        for kind, region in product(kinds, regions)
    )


def test_the_fallback_texts_are_the_ones_on_record() -> None:
    """Nothing judges these; read each change. `python -m tests.topology.decision.test_fallback_texts` records them."""
    assert on_record() == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize("mode", sorted(Mode))
def test_the_examples_are_of_the_modes_that_they_stand_for(mode: Mode) -> None:
    assert request_cases()[CASES[mode]].plan().mode is mode


if __name__ == "__main__":
    GOLDEN.write_text(on_record(), "utf-8")
