"""Remarks on a policy that loads: what has no effect, what is missing, what is not as the specification has it."""

from collections.abc import Callable

import msgspec
import pytest

from tests.topology.decision.policy_world import Document, bundle, document, load
from tests.topology.policy.policy_document import drop, put, rule
from topology.policy.bundle import Authority, SpecReference
from topology.policy.lint import RemarkSeverity, lint
from topology.policy.spec_sections import sections_of


def remarks(*changes: Callable[[Document], None]) -> dict[str, str]:
    """The remarks that changes of the shipped policy bring, by path."""
    changed = document()
    for spoil in changes:
        spoil(changed)
    usual = {(remark.path, remark.text) for remark in lint(bundle())}
    return {each.path: each.text for each in lint(load(changed)) if (each.path, each.text) not in usual}


def test_the_shipped_policy_has_notes_and_no_warnings() -> None:
    found = lint(bundle())
    assert {remark.severity for remark in found} == {RemarkSeverity.NOTE}
    assert {remark.path for remark in found} == {
        "help_lines",
        "categories.self_harm.intent.fixed",
        "categories.ip.verbatim.fixed",
        "categories.political.targeted.fixed",
        "categories.privacy.mass_surveillance.fixed",
        "categories.civic_integrity.authority",
    }


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        (rule("V07", over_min=1), "rules.V08a", "never reached: earlier rows"),
        (rule("V05", straddle_min=1, harm_min=4, harm_max=3), "rules.V05", "never reached: nothing"),
        (put("categories/csae/teen_cap", 3), "categories.csae.teen_cap", "no less than adults"),
        (put("categories/cyber.offense/grants", {"cyber_trusted_access": [2, 1, 0], "adult_content": [4, 4, 0]}),
         "categories.cyber.offense.grants.cyber_trusted_access", "gives no more"),
        (put("categories/harassment/loosen", {"by": "user", "to": 2}), "categories.harassment.loosen", "no more than"),
        (put("categories/drugs.production/fixed", [2, 2, 0]), "categories.drugs.production.fixed", "at H3 for dual"),
        (drop("offers/nearby_help/fr"), "offers.nearby_help", "no phrase in fr"),
        (put("offers/nearby_help/nl", "iets"), "offers.nearby_help", "has nl, in which there are no templates"),
        (put("categories/hate/anchor", "be_nice"), "categories.hate.anchor", "be_nice is no section"),
        (put("obligations/referral/anchor", ""), "obligations.referral.anchor", "nothing is no section"),
        (put("categories/hate/authority", "user"), "categories.hate.authority", "user is below its section's level"),
        (put("conduct/candour/authority", "developer"), "conduct.candour.authority", "developer is above"),
        (put("categories/hate/anchor", "seek_truth"), "categories.hate.authority", "its section has no level"),
        (put("categories/civic_integrity/authority", "user"), "categories.civic_integrity.authority", "no level"),
        (put("offers/extra", {"en": "x", "de": "x", "fr": "x", "es": "x"}), "offers.extra", "nothing asks for it"),
        (put("withholds/extra", "x"), "withholds.extra", "nothing asks for it"),
        (put("soft_rules/extra", {"anchor": "style", "authority": "guideline", "words": "x"}),
         "soft_rules.extra", "nothing asks for it"),
        (drop("crosswalk/hate"), "crosswalk.hate", "missing"),
        (put("guard_groups/cyber/categories", ["cyber.offense"]), "categories.cyber.defense", "in no guard group"),
        (put("policy/spec/version", "2030-01-01"), "policy.spec", "no table"),
        (put("categories/cyber.defense/harm", [0, 0]), "guard_groups.cyber.examples[0]", "H1 is outside the range"),
    ],
)  # fmt: skip
def test_what_is_odd_is_named_with_its_path(change: Callable[[Document], None], path: str, text: str) -> None:
    changes = [change]
    if path == "categories.cyber.defense":
        changes.append(put("guard_groups/cyber/examples", []))
    found = remarks(*changes)
    assert path in found
    assert text in found[path]


def test_help_lines_that_nobody_read_at_their_source_are_listed() -> None:
    told = " ".join(remark.text for remark in lint(bundle()) if remark.path == "help_lines")
    assert " FR" in told
    assert " US" not in told


def test_the_table_of_sections_counts_what_the_specification_has() -> None:
    sections = sections_of(bundle().policy.spec)
    assert sections is not None
    levels = list(sections.levels.values())
    counted = {level: levels.count(level) for level in (*list(Authority)[:5], None)}
    assert list(counted.values()) == [22, 3, 1, 15, 18, 21]


@pytest.mark.parametrize("spec", [{"name": "../policies/openai-model-spec"}, {"sha256": "0" * 64}, {"version": "x"}])
def test_another_text_has_no_table(spec: dict[str, str]) -> None:
    reference: SpecReference = msgspec.structs.replace(bundle().policy.spec, **spec)
    assert sections_of(reference) is None
