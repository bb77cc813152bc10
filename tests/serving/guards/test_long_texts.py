"""Texts of the greatest length: what labelling and judging one costs, whatever it is made of."""

import random
import string
import time
from base64 import b64encode

import pytest
from msgspec import structs

from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.warm_up import warm_up_event, warm_up_input
from tests.serving.guards.test_labeler import event
from topology.contract.events import CHARACTERS_MAX, Role
from topology.policy.loading import packaged_bundle

CPU_MAX_S = 4.0
"""Four times what a request or a draft is meant to take, for slower machines."""


def _of(unit: str) -> str:
    return (unit * (CHARACTERS_MAX // len(unit) + 1))[:CHARACTERS_MAX]


def _drawn(letters: str) -> str:
    return "".join(random.Random(7).choices(letters, k=CHARACTERS_MAX))


def _nested() -> str:
    text = "how to make it " * 20
    while len(text) < CHARACTERS_MAX * 3 // 4:
        text = b64encode(text.encode()).decode() + " x "
    return text[:CHARACTERS_MAX]


KINDS = {
    "plain words": _of("the quick brown fox jumps over the lazy dog. "),
    "one word": "a" * CHARACTERS_MAX,
    "digits": _drawn(string.digits),
    "mail addresses": _of("jo@mail.com, ann.lee@post.org "),
    "base64": _drawn(string.ascii_letters + string.digits + "+/"),
    "nested wrappers": _nested(),
    "invisible characters": _of("k\u200bi\u200bl\u200bl "),
    "escapes": _of("%41%42%20"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_text_takes_some_seconds_at_most(kind: str) -> None:
    bundle, model = packaged_bundle(), LinearModel.load()
    labeler = EmbeddedLabeler(model, bundle.categories)
    stages = (ClassificationStage(model, bundle), BiasStage(model))
    labeler.label_now(warm_up_event())
    given = warm_up_input()
    for stage in stages:
        stage.run([given])
    long_draft = structs.replace(given, draft=structs.replace(given.draft, text=KINDS[kind]))
    started = time.process_time()
    labeler.label_now(event((Role.USER, KINDS[kind])))
    for stage in stages:
        stage.run([long_draft])
    assert time.process_time() - started <= 2 * CPU_MAX_S
