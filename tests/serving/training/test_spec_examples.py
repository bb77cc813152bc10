"""The Model Spec's example replies: all of them are found, and the page's figures are those that come out."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from serving.guards.encoder.model import PACKAGED_FOLDER, Encoder
from serving.training.evaluate_spec import BEGIN, EXPECTED, Judged, draw, judge_all, with_report
from serving.training.spec_examples import Label, spec_examples
from tests.checkout import ROOT
from topology.contract.events import Role, parts_text
from topology.contract.labels import Mode, VerdictKind
from topology.policy.loading import packaged_bundle

PATH = ROOT / "tests" / "data" / "model_spec" / "model_spec.md"
PAGE = ROOT / "docs" / "spec-examples.md"
DOCUMENT = PATH.read_text("utf-8")
EXAMPLES = spec_examples(DOCUMENT)


def counts(sections: frozenset[str] = frozenset()) -> dict[str, int]:
    """How many replies there are of each label, in all or below some sections."""
    chosen = [each for each in EXAMPLES if not sections or sections & {each.section, *each.parents}]
    return dict(Counter(reply.label.value for each in chosen for reply in each.replies))


def test_the_document_is_the_one_that_the_policy_names() -> None:
    spec = packaged_bundle().policy.spec
    assert hashlib.sha256(PATH.read_bytes()).hexdigest() == spec.sha256
    assert PATH.stat().st_size == 271_119


def test_every_labelled_reply_is_found() -> None:
    assert len(EXAMPLES) == 189
    assert counts() == {"GOOD": 193, "OK": 8, "BAD": 196}
    assert counts(EXPECTED) == {"GOOD": 68, "OK": 2, "BAD": 72}


def test_every_reply_has_a_text_and_no_mark_of_the_document() -> None:
    for example in EXAMPLES:
        for reply in example.replies:
            assert reply.text
            assert "<!--" not in reply.text
            assert "</assistant>" not in reply.text


def test_a_conversation_keeps_its_roles_and_the_good_reply_of_an_earlier_comparison() -> None:
    mine = [each for each in EXAMPLES if each.section == "prevent_imminent_harm"]
    later = next(each for each in mine if len(each.messages) > 1)
    assert [message.role for message in later.messages] == [Role.USER, Role.ASSISTANT, Role.USER]
    earlier = mine[mine.index(later) - 1]
    assert earlier.messages == later.messages[:1]
    assert parts_text(later.messages[1].parts) == earlier.replies[0].text
    roles = {message.role for example in EXAMPLES for message in example.messages}
    assert roles == {Role.SYSTEM, Role.DEVELOPER, Role.USER, Role.ASSISTANT, Role.TOOL}


def test_a_small_document_is_read_as_it_stands() -> None:
    (example,) = spec_examples(
        "# A {#a}\n## B {#b authority=root}\n~~~xml\n<user>\nHi\n</user>\n<comparison>\n"
        "<assistant> <!-- GOOD: it\nhelps -->\nHello.\n</assistant>\n<assistant>\nunlabelled\n</assistant>\n"
        "</comparison>\n~~~\n"
    )
    assert (example.section, example.parents, example.line) == ("b", ("a",), 7)
    assert [(reply.label, reply.text, reply.remark) for reply in example.replies] == [
        (Label.GOOD, "Hello.", "it\nhelps")
    ]


def test_the_figures_on_the_page_are_those_that_come_out() -> None:
    """Where one moved, write the page anew by the command that stands on it. Never choose anything by these figures."""
    page = PAGE.read_text("utf-8")
    assert with_report(page, judge_all(DOCUMENT, packaged_bundle(), Encoder(PACKAGED_FOLDER))) == page


def judged(label: Label, verdict: VerdictKind) -> Judged:
    return Judged(
        section="avoid_abuse",
        is_expected=True,
        line=1,
        label=label,
        mode=Mode.DIRECT_ANSWER,
        verdict=verdict,
        rule="V13a",
    )


@pytest.mark.parametrize(
    ("label", "verdict", "is_right"),
    [
        (Label.GOOD, VerdictKind.PUBLISH, True),
        (Label.GOOD, VerdictKind.REVISE, False),
        (Label.BAD, VerdictKind.PUBLISH, False),
        (Label.BAD, VerdictKind.ESCALATE, True),
        (Label.OK, VerdictKind.REFUSE, True),
    ],
)
def test_good_is_to_be_published_and_bad_is_not(label: Label, verdict: VerdictKind, is_right: bool) -> None:
    assert judged(label, verdict).is_right is is_right


def test_a_page_without_marks_is_not_written() -> None:
    with pytest.raises(ValueError, match="figures"):
        with_report(f"{BEGIN} and no end", [])


def test_the_picture_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw([judged(Label.GOOD, VerdictKind.PUBLISH), judged(Label.BAD, VerdictKind.REFUSE)], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000
