"""Loading a bundle: what is refused, with every reason and path, and what its name is."""

from collections.abc import Callable

import msgspec
import pytest

from tests.topology.decision.policy_world import Document, bundle, document, load
from tests.topology.policy.policy_document import drop, put, rule
from topology.contract.errors import PolicyError
from topology.policy.documents import DOCUMENT_BYTES_MAX, DOCUMENT_VALUES_MAX, digest
from topology.policy.loading import load_bundle, packaged_bundle

REF = "safe-completion-core@0.3.0#"


def test_the_packaged_policy_names_itself_by_its_content() -> None:
    assert bundle().ref.startswith(REF)
    assert bundle().ref == packaged_bundle().ref
    assert bundle().content_hash == digest(document())


def test_the_form_of_the_document_does_not_change_its_name() -> None:
    assert load(document()) == bundle()
    assert load_bundle(msgspec.yaml.encode(dict(reversed(document().items())))) == bundle()


def test_any_change_of_content_changes_the_name() -> None:
    changed = document()
    put("offers/nearby_help/en", "something else")(changed)
    assert load(changed).ref != bundle().ref


def test_a_stated_hash_is_checked() -> None:
    assert load(document() | {"content_hash": bundle().content_hash}).ref == bundle().ref
    with pytest.raises(PolicyError, match="content_hash"):
        load(document() | {"content_hash": "0" * 64})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("base_ceiling/data", [[4, 4, 3]] * 4), r"base_ceiling\.data: 4 rows"),
        (put("base_ceiling/data", [[3, 4, 3]] * 5), r"base_ceiling\.data\[0\]: rises with intent"),
        (put("base_ceiling/data", [[3, 3, 3]] * 4 + [[4, 3, 3]]), r"base_ceiling\.data: rises with harm for benign"),
        (put("base_ceiling/data", [[5, 4, 3]] * 5), r"base_ceiling"),
        (put("categories/csae/fixed", [0, 1, 0]), r"categories\.csae\.fixed: rises"),
        (put("categories/csae/harm", [4, 3]), r"categories\.csae\.harm"),
        (put("categories/csae/raise", ["news"]), r"categories\.csae\.raise"),
        (put("categories/csae/education", ["fiction"]), r"categories\.csae\.education"),
        (put("categories/csae/transformable", True), r"categories\.csae\.transformable"),
        (put("categories/csae/offer", ["nothing_known"]), r"categories\.csae\.offer: unknown nothing_known"),
        (put("categories/csae/offer", []), r"categories\.csae\.offer: empty"),
        (put("categories/csae/withhold", ["nothing_known"]), r"categories\.csae\.withhold: unknown"),
        (put("categories/csae/include", ["nothing_known"]), r"categories\.csae\.include: unknown"),
        (put("categories/csae/colour", "red"), r"categories\.csae: .*unknown field"),
        (put("categories/hate/loosen", {"by": "developer", "to": 3}), r"categories\.hate\.loosen: a rule at root"),
        (put("categories/harassment/loosen/by", "system"), r"categories\.harassment\.loosen\.by"),
        (put("categories/regulated_advice.legal/loosen/by", "user"), r"loosen\.by: user cannot override"),
        (put("categories/self_harm.method/transformable", True), r"self_harm\.method\.transformable"),
        (put("categories/cbrn.weaponization/transformable", True), r"contradicts no_transform"),
        (put("categories/self_harm.intent/force_mode", "hard_refuse"), r"force_mode: hard_refuse"),
        (put("categories/delusion_mania/floor_mode", "direct_answer"), r"floor_mode: direct_answer"),
        (put("categories/cyber.offense/grants", {"some_grant": [0, 3, 0]}), r"grants\.some_grant: rises"),
        (drop("categories/none"), r"categories\.none: missing"),
        (put("tenant_floors", ["crisis_support"]), r"tenant_floors: emergency_guidance"),
        (put("enums/intent", ["benign", "malicious"]), r"enums\.intent"),
        (drop("modes/hard_refuse"), r"modes\.hard_refuse: missing"),
        (drop("add_ons/teen"), r"add_ons\.teen: missing"),
        (drop("withhold_above/advice"), r"withhold_above\.advice: missing"),
        (drop("offers/nearby_help/en"), r"offers\.nearby_help: no phrase in en"),
        (drop("templates/fr/crisis_line"), r"templates\.fr\.crisis_line: missing"),
        (put("templates/fr/extra", "x"), r"templates\.fr\.extra: unknown"),
        (put("templates/de/crisis_line", "{name}"), r"templates\.de\.crisis_line: placeholders"),
        (put("templates/de/limit", "{"), r"templates\.de\.limit: placeholders"),
        (drop("templates/en"), r"templates\.en: missing"),
        (drop("obligations/legal_notice"), r"obligations"),
        (
            put("help_lines/usa", {"name": "n", "number": "1", "emergency": "1", "source": "s", "as_of": "2026-01-01"}),
            r"help_lines\.usa",
        ),
        (put("help_lines/US/number", ""), r"help_lines\.US: a line has both"),
        (put("help_lines/US/as_of", "lately"), r"help_lines\.US: .*as_of"),
        (put("help_lines/US/evidence", "hearsay"), r"help_lines\.US: .*evidence"),
        (put("conduct/fairness/checked_by", ["nothing_known"]), r"conduct\.fairness\.checked_by: unknown"),
        (drop("conduct/fairness/anchor"), r"conduct\.fairness: .*anchor"),
        (put("crosswalk/witchcraft", {"moderation": []}), r"crosswalk\.witchcraft: unknown category"),
        (put("guard_groups/cyber/categories", ["witchcraft"]), r"guard_groups\.cyber: unknown category witchcraft"),
        (put("guard_groups/cyber/categories", ["hate"]), r"guard_groups: hate is in two groups"),
        (put("guard_groups/manner/faults", ["nothing_known"]), r"guard_groups\.manner\.faults: unknown"),
        (put("guard_groups/manner/faults", []), r"guard_groups\.manner: has either categories or faults"),
        (put("guard_groups/cyber/code", "cyber"), r"guard_groups\.cyber: .*code"),
        (put("guard_groups/cyber/safe", ["one"]), r"guard_groups\.cyber\.examples\[1\]: no criterion CY\.s2"),
        (put("templates/de/limit", 7), r"templates\.de: .*got `int`"),
        (put("offers/nearby_help/de", ""), r"offers\.nearby_help: .*length"),
        (put("obligations/referral/authority", "boss"), r"obligations\.referral: .*authority"),
        (put("modes/hard_refuse/styl", "x"), r"modes\.hard_refuse: .*unknown field `styl`"),
        (put("withholds/diagnosis", []), r"withholds\.diagnosis: "),
        (put("soft_rules", []), r"soft_rules: not a mapping"),
        (rule("V07", harm_max=9), r"rules\.V07: .*harm_max"),
        (drop("help_lines/US/source"), r"source"),
        (rule("V02"), r"rules\.V06a: prohibited content"),
        (rule("V03", verdict="escalate"), r"rules\.V03: .*H4"),
        (rule("V01"), r"rules: no row for guard"),
        (rule("V01", verdict="revise", budget="more"), r"rules\.V01: a guard that could not tell"),
        (rule("V08b"), r"rules: no row for finding"),
        (rule("V06a", verdict="publish"), r"rules\.V06a: publishes a finding"),
        (rule("V08b", verdict="revise"), r"rules\.V08b: revises without budget"),
        (rule("V04", separable=None), r"rules\.V04: redacts"),
        (rule("V10b", verdict="publish"), r"rules\.V10b: publishes a fault of obligation"),
        (rule("V03", id="V02"), r"rules\.V02: twice"),
    ],
)
def test_an_unsound_bundle_is_refused_with_the_path(change: Callable[[Document], None], reason: str) -> None:
    changed = document()
    change(changed)
    with pytest.raises(PolicyError, match=reason):
        load(changed)


def test_every_reason_is_given_at_once() -> None:
    changed = document()
    for change in (put("categories/hate/class", "nice"), put("categories/gore/harm", [9, 9])):
        change(changed)
    with pytest.raises(PolicyError) as refusal:
        load(changed)
    assert len(refusal.value.reasons) == 2
    assert all(reason.startswith("bundle: categories.") for reason in refusal.value.reasons)


CIRCLE = b"a: &a\n  b: *a\n"
LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (name, name, *[name - 1] * 10) for name in b"bcdefgh"
)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not a mapping"),
        (b"[]", "not a mapping"),
        (b"\xff\x00", "neither YAML nor JSON"),
        (b"a: [", "neither YAML nor JSON"),
        (b"{}", "bundle"),
        (b"on: x", "reads as bool"),
        (b"x" * (DOCUMENT_BYTES_MAX + 1), "bytes, at most"),
        (CIRCLE, "line 1: an anchor"),
        (LAUGHS, "line 1: an anchor"),
        (b"a: [" + b"x," * DOCUMENT_VALUES_MAX + b"x]", "more than"),
        (b"a: " + b"[" * 1_000_000, "line 1: nested deeper"),
        (b"- " * 500_000, "line 1: nested deeper"),
        (b'{"a": {"b": 1, "b": 2}}', "a name for the second time"),
        (b"a:\n  b: 1\n  'b': 2\n", "line 3: a name for the second time"),
        (b"a: {<<: {b: 1}}", "line 1: a merge"),
        (b"a: !!python/name:os.system x", "line 1: a tag"),
        (b"? [a, b]\n: c", "line 1: a name that is no text"),
    ],
)
def test_what_is_no_document_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        load_bundle(raw)
