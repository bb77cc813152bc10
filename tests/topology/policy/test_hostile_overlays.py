"""No overlay crosses the platform's floor: hostile ones are refused with reasons, or change only what is theirs."""

from collections.abc import Callable
from itertools import product
from random import Random

import msgspec
import pytest

from serving.generation.prompts import compile_prompt, tenant_text
from serving.generation.rules import wording as wording_of
from tests.topology.decision.plan_space import SUBJECTS
from tests.topology.decision.policy_world import CATEGORIES, bundle, labels
from tests.topology.policy.hostile_overlays import KEY_ID, PLATFORM, SEED, loaded, refused
from topology.contract.errors import PolicyError
from topology.contract.events import ConversationEvent, Message, Role, TextPart, parts_text
from topology.contract.labels import CategoryId, Intent, Level, Mode, RequestFinding, Vulnerability
from topology.decision.ceilings import Subject, ceiling, harm_of, subject_of
from topology.decision.plan import plan
from topology.policy.bundle import INTENTS, Category
from topology.policy.overlays import TenantOverlay, grant_uses, load_overlay
from workers.policy.signing import signature_check

VERIFY = signature_check({KEY_ID: PLATFORM.public_key()})
REFUSED, LOADED = tuple(refused(Random(SEED))), tuple(loaded(Random(SEED)))
HOSTILE_MIN = 100
VALID_MS, EXPIRED_MS = 1_500, 2_000
Record = Callable[[str, object], None]


def overlay_of(raw: bytes) -> TenantOverlay:
    return load_overlay(raw, bundle(), VERIFY)


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in REFUSED}))
def test_a_hostile_overlay_is_refused_with_its_reasons(kind: str) -> None:
    for raw in (raw for each, raw in REFUSED if each == kind):
        with pytest.raises(PolicyError) as refusal:
            overlay_of(raw)
        assert refusal.value.reasons
        assert all(
            reason.startswith("overlay: ") and len(reason) > len("overlay: ") for reason in refusal.value.reasons
        )


def platform_bound(category: Category, harm: Level, intent: Intent, subject: Subject) -> Level:
    """The most that the policy leaves to tenants of what is asked in no particular context."""
    column = INTENTS.index(intent)
    row = category.fixed or bundle().base_ceiling[category.family][harm_of(category, harm)]
    most = row[column]
    if intent is not Intent.MALICIOUS:
        granted = [levels[column] for name, levels in category.grants.items() if name in subject.grants]
        most = max(most, *granted, 0 if category.loosen is None else category.loosen.to)
    is_young = subject.has_teen_limits and category.teen_cap is not None
    return min(most, category.teen_cap or 0) if is_young else most


@pytest.mark.parametrize("now_ms", [VALID_MS, EXPIRED_MS])
def test_what_loads_never_lifts_a_ceiling_above_the_platforms_bound(now_ms: int, record_property: Record) -> None:
    count = 0
    for _, raw in LOADED:
        overlay = overlay_of(raw)
        grants = {use.grant for use in grant_uses(overlay, now_ms) if use.status == "used"}
        assert now_ms == VALID_MS or not grants
        subjects = {subject_of(bundle(), labels(), overlay=overlay, user=user, grants=grants) for user, _ in SUBJECTS}
        for name, harm, intent, subject in product(CATEGORIES, range(5), Intent, subjects):
            finding = RequestFinding(category=CategoryId(name), harm=harm, intent=intent)
            bound = platform_bound(bundle().categories[finding.category], harm, intent, subject)
            assert ceiling(bundle(), finding, overlay, subject)[0] <= bound
            count += 1
    record_property("ceilings under hostile overlays that load", count)


@pytest.mark.parametrize(
    ("risk", "mode"),
    [
        (Vulnerability.ACUTE_SELF_HARM, Mode.CRISIS_SUPPORT),
        (Vulnerability.HARM_TO_OTHERS, Mode.CRISIS_SUPPORT),
        (Vulnerability.IMMINENT_DANGER, Mode.EMERGENCY_GUIDANCE),
    ],
)
def test_no_overlay_switches_a_safety_mode_or_what_it_owes_off(risk: Vulnerability, mode: Mode) -> None:
    for _, raw in LOADED:
        made = plan(bundle(), labels(vulnerability=risk), overlay=overlay_of(raw), user=SUBJECTS[0][0], grants=())
        assert made.mode is mode
        assert set(bundle().modes[mode].include) <= set(made.must_include)


def test_no_text_of_an_overlay_passes_for_the_policys(record_property: Record) -> None:
    asked = Message(role=Role.USER, parts=(TextPart(text="a question"),))
    event = ConversationEvent(event_id="e", conversation_id="c", tenant_id="t", messages=(asked,))
    words = wording_of(bundle())
    for kind, raw in LOADED:
        overlay = overlay_of(raw)
        made = plan(bundle(), labels(), overlay=overlay, user=event.user, grants=())
        system = parts_text(compile_prompt(words, made, event, tenant_text(overlay))[0].parts)
        plain = parts_text(compile_prompt(words, made, event)[0].parts)
        ours = [line for line in system.splitlines() if not line.startswith("> ")]
        assert [line for line in ours if line and line != "[tenant]"] == [line for line in plain.splitlines() if line]
        assert system.startswith(words.rules)
        for mark in ("<|im_start|>", "<|im_end|>", "[INST]", "<<SYS>>", "<start_of_turn>"):
            assert mark not in system, kind
    record_property("hostile overlays, refused", len(REFUSED))
    record_property("hostile overlays, loaded without crossing the floor", len(LOADED))
    assert min(len(REFUSED), len(LOADED)) >= HOSTILE_MIN


def test_a_refusal_does_not_depend_on_the_rest_of_the_overlay() -> None:
    for _, raw in LOADED[-10:]:
        sound = msgspec.json.decode(raw)
        with pytest.raises(PolicyError, match="a rule at root level"):
            overlay_of(
                msgspec.json.encode(sound | {"raises": sound["raises"] | {"hate": {"to": 3, "by": "developer"}}})
            )
