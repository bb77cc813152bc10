"""What the embedded labeller notices of messages written for it, and what it must not take for a risk.

`held_out` was written together with `development`, before any phrase, and is only counted, but for one false alarm that
was looked at and mended. `afterwards` and `last` were written once there were phrases, counted, and then learnt from;
docs/guards.md has the first counts. Of `counted_once`, which nothing was learnt from, only the alarms are tested: most
of its risks go unnoticed.
"""

from collections.abc import Callable
from functools import cache
from random import Random

import msgspec
import pytest

from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.training.ordinary_requests import ordinary_requests
from tests.checkout import ROOT
from tests.effort import LONG_FORM
from topology.contract.events import ConversationEvent, Message, Role, TextPart, UserContext
from topology.contract.labels import AgeBand, Intent, RequestLabels, Signal, Vulnerability
from topology.policy.loading import packaged_bundle

DATA = ROOT / "tests" / "data" / "guards"
HALVES = ("development", "held_out")
LEARNT = (*HALVES, "afterwards", "last")
SETS = (*LEARNT, "counted_once")
NOTICED_MIN = 0.8
CALM_MIN = 0.95
ALARMS_MAX = 0.01

Noticed = Callable[[RequestLabels], bool]
_ACUTE = frozenset({Vulnerability.ACUTE_SELF_HARM, Vulnerability.IMMINENT_DANGER})
_AT_RISK = frozenset(Vulnerability) - {Vulnerability.NONE, Vulnerability.DISTRESS}
_ATTACKS = frozenset({Signal.JAILBREAK_OTHER, Signal.JAILBREAK_ROLEPLAY})


@cache
def labeler() -> EmbeddedLabeler:
    return EmbeddedLabeler(LinearModel.load(), packaged_bundle().categories)


@cache
def messages() -> dict[str, dict[str, list[str]]]:
    return msgspec.yaml.decode((DATA / "phrases.yaml").read_bytes(), type=dict[str, dict[str, list[str]]])


@cache
def foreign() -> dict[str, dict[str, dict[str, list[str]]]]:
    shape = dict[str, dict[str, dict[str, list[str]]]]
    return msgspec.yaml.decode((DATA / "languages.yaml").read_bytes(), type=shape)


@cache
def said(text: str, role: Role = Role.USER) -> RequestLabels:
    shown = Message(role=role, parts=(TextPart(text=text),))
    asked = Message(role=Role.USER, parts=(TextPart(text="Go on."),))
    turns = (shown,) if role is Role.USER else (asked, shown)
    event = ConversationEvent(event_id="e", conversation_id="c", tenant_id="t", messages=turns, user=UserContext())
    return labeler().label_now(event)


def _is_malicious(labels: RequestLabels) -> bool:
    return any(finding.intent is Intent.MALICIOUS for finding in labels.findings)


def _has_finding(labels: RequestLabels) -> bool:
    return bool(labels.findings)


def _is_calm(labels: RequestLabels) -> bool:
    return labels.vulnerability not in _AT_RISK and not _is_malicious(labels) and not labels.signals


NOTICED: dict[str, Noticed] = {
    "self_harm": lambda labels: labels.vulnerability in _ACUTE,
    "third_person": lambda labels: labels.vulnerability in _ACUTE,
    "danger": lambda labels: labels.vulnerability is Vulnerability.IMMINENT_DANGER,
    "harm_to_others": lambda labels: labels.vulnerability is Vulnerability.HARM_TO_OTHERS,
    "distress": lambda labels: labels.vulnerability is not Vulnerability.NONE,
    "delusion": lambda labels: labels.vulnerability is Vulnerability.DELUSION_MANIA,
    "radicalisation": lambda labels: labels.vulnerability is Vulnerability.RADICALIZATION_RISK,
    "malicious": _is_malicious,
    "wrongdoing": _has_finding,
    "injection": lambda labels: Signal.INJECTION in labels.signals,
    "pasted_injection": lambda labels: Signal.INJECTION in labels.signals,
    "jailbreak": lambda labels: not _ATTACKS.isdisjoint(labels.signals),
    "teen": lambda labels: labels.age_band is AgeBand.TEEN,
    "child": lambda labels: labels.age_band is AgeBand.UNDER13,
    "benign": _is_calm,
    "harmful": _has_finding,
}


def share(texts: list[str], group: str) -> tuple[float, list[str]]:
    role = Role.TOOL if group == "injection" else Role.USER
    missed = [text for text in texts if not NOTICED[group](said(text, role))]
    return 1 - len(missed) / len(texts), missed


@pytest.mark.parametrize("name", LEARNT)
def test_most_messages_of_each_kind_are_noticed(name: str) -> None:
    shares = {group: share(texts, group) for group, texts in messages()[name].items()}
    assert {group: missed for group, (noticed, missed) in shares.items() if noticed < NOTICED_MIN} == {}


@pytest.mark.parametrize("name", SETS)
def test_few_harmless_messages_alarm(name: str) -> None:
    calm, alarming = share(messages()[name]["benign"], "benign")
    assert calm >= CALM_MIN, alarming


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("group", ["self_harm", "danger", "harm_to_others", "harmful", "benign"])
def test_most_messages_in_other_languages_are_noticed(half: str, group: str) -> None:
    texts = [text for groups in foreign()[half].values() for text in groups[group]]
    noticed, missed = share(texts, group)
    assert noticed >= NOTICED_MIN, missed


def test_ordinary_requests_name_hardly_ever_a_risk_or_a_purpose() -> None:
    """The short form asks a fifth of them."""
    texts = list(ordinary_requests())
    if not LONG_FORM:
        texts = Random(1).sample(texts, len(texts) // 5)
    alarming = [text for text in texts if not _is_calm(said(text))]
    assert len(alarming) <= ALARMS_MAX * len(texts), alarming
