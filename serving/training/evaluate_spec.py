"""Judge a Model Spec document's example replies: `python -m serving.training.evaluate_spec --spec FILE [--page FILE]`.

Each reply is treated as a first draft and passes the embedded guards and the judge. GOOD should be published, BAD
should not. Prints a Markdown report by section. Nothing is fitted to these replies, and their text is never printed.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage
from serving.guards.encoded import EncodedBias, EncodedClassification, EncodedLabeler
from serving.guards.encoder.lanes import Lanes
from serving.guards.encoder.model import PACKAGED, Encoder, encoder_folder
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.training.spec_examples import Label, SpecExample, spec_examples
from topology.contract.drafts import Draft
from topology.contract.events import ConversationEvent, Message, Role, TextPart, UserContext
from topology.contract.labels import AgeBand, GuardRun, Mode, Outcome, Plan, RequestLabels, VerdictKind
from topology.contract.names import DraftSource
from topology.decision.judge import judge, merge_reports
from topology.decision.plan import plan
from topology.policy.bundle import AgeDefault, PolicyBundle
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import TenantOverlay
from topology.ports import CheckInput, Stage
from topology.steps.taking_up import without_answer

TEEN_SECTION = "chatgpt_u18"
EXPECTED = frozenset(
    {
        "stay_in_bounds",
        "risky_situations",
        "protect_privileged_information",
        "uphold_fairness",
        "respect_real_world_ties",
        TEEN_SECTION,
        "refusal_style",
    }
)
"""The sections on what may be said at all, with those below them. The others are on how well an answer does its job,
which a guard cannot see: most of what they call BAD is harmless."""

_OVERLAY = TenantOverlay(tenant_id="evaluation", version="1", age_default=AgeDefault.ADULT)
_ADULT = UserContext(age_band=AgeBand.ADULT, age_verified=True, locale="en-US", region="US")
_TEEN = UserContext(age_band=AgeBand.TEEN, locale="en-US", region="US")
_NOTHING_SAID = "(the conversation begins here)"
REVISIONS_MAX = 2
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


class Judged(Struct, frozen=True, kw_only=True):
    """The outcome of one reply. `rule` decided; `mode` was planned for the conversation."""

    section: str
    is_expected: bool
    line: int
    label: Label
    mode: Mode
    verdict: VerdictKind
    rule: str

    @property
    def is_published(self) -> bool:
        """Return whether the reply would have been published unchanged."""
        return self.verdict is VerdictKind.PUBLISH

    @property
    def is_right(self) -> bool:
        """Return whether the outcome is the one its label asks for; an OK reply may end either way."""
        return self.label is Label.OK or self.is_published is (self.label is Label.GOOD)


class SpecJudge:
    """The embedded guards and the judge, as a worker without a guard LLM has them; without an encoder if it is None."""

    def __init__(self, bundle: PolicyBundle, encoder: Encoder | None) -> None:
        model = LinearModel.load()
        self._bundle = bundle
        rules = EmbeddedLabeler(model, bundle.categories)
        classification, bias = ClassificationStage(model, bundle), BiasStage(model)
        self._labeler: EmbeddedLabeler | EncodedLabeler = rules
        self._stages: tuple[Stage, ...] = (classification, bias)
        if encoder is not None:
            self._labeler = EncodedLabeler(rules, encoder, bundle.categories, Lanes())
            self._stages = (EncodedClassification(classification, encoder, bundle), EncodedBias(bias, encoder))
        self._runs = [GuardRun(guard=each.name, version=each.version, outcome=Outcome.OK) for each in self._stages]

    def judged(self, example: SpecExample) -> list[Judged]:
        """Judge every reply of one comparison, in order."""
        event = _event(example)
        labels = without_answer(self._labeler.label_now(event))  # no example makes up an answer
        made = plan(self._bundle, labels, overlay=_OVERLAY, user=event.user, grants=())
        return [self._judged(example, event, labels, made, place) for place in range(len(example.replies))]

    def _judged(
        self, example: SpecExample, event: ConversationEvent, labels: RequestLabels, made: Plan, place: int
    ) -> Judged:
        reply = example.replies[place]
        given = CheckInput(
            event=event,
            labels=labels,
            plan=made,
            draft=Draft(text=reply.text, source=DraftSource.GENERATOR),
            attempt=1,
            policy=self._bundle,
        )
        out = merge_reports([stage.run([given])[0] for stage in self._stages], self._runs)
        verdict = judge(
            self._bundle,
            made,
            labels,
            out,
            overlay=_OVERLAY,
            user=event.user,
            grants=(),
            attempts=1,
            revisions_max=REVISIONS_MAX,
        )
        return Judged(
            section=example.section,
            is_expected=not EXPECTED.isdisjoint({example.section, *example.parents}),
            line=example.line,
            label=reply.label,
            mode=made.mode,
            verdict=verdict.verdict,
            rule=verdict.rule_ids[0],
        )


def _event(example: SpecExample) -> ConversationEvent:
    """Build the conversation as an event; it ends with the last message, whoever said it."""
    is_teen = TEEN_SECTION in {example.section, *example.parents}
    nothing = Message(role=Role.USER, parts=(TextPart(text=_NOTHING_SAID),))
    return ConversationEvent(
        event_id="e",
        conversation_id="c",
        tenant_id=_OVERLAY.tenant_id,
        messages=example.messages or (nothing,),
        user=_TEEN if is_teen else _ADULT,
    )


def judge_all(document: str, bundle: PolicyBundle, encoder: Encoder | None) -> list[Judged]:
    """Judge every labelled reply of a document, in order."""
    judge_of = SpecJudge(bundle, encoder)
    return [judged for example in spec_examples(document) for judged in judge_of.judged(example)]


def report(found: Sequence[Judged]) -> Iterable[str]:
    """Yield the figures as Markdown: all, then by section, then by the rule that withheld."""
    yield "| sections | GOOD published | BAD not published | OK published |"
    yield "|---|---|---|---|"
    for name, is_expected in (("on what may be said", True), ("on how well it is said", False)):
        yield _line(name, [each for each in found if each.is_expected is is_expected])
    yield ""
    yield "| section | GOOD published | BAD not published | OK published | GOOD held by | BAD held by |"
    yield "|---|---|---|---|---|---|"
    for section in dict.fromkeys(each.section for each in found if each.is_expected):
        mine = [each for each in found if each.section == section]
        yield f"{_line(f'`{section}`', mine)} {_held(mine, Label.GOOD)} | {_held(mine, Label.BAD)} |"


def with_report(page: str, found: Sequence[Judged]) -> str:
    """Put the report between the marks of a page. Raises ValueError if it has none."""
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n" + "\n".join(report(found)) + f"\n{END}{after}"


def _line(name: str, found: Sequence[Judged]) -> str:
    counts = (
        _share(found, Label.GOOD, is_published=True),
        _share(found, Label.BAD, is_published=False),
        _share(found, Label.OK, is_published=True),
    )
    return f"| {name} | {' | '.join(counts)} |"


def _share(found: Sequence[Judged], label: Label, *, is_published: bool) -> str:
    mine = [each for each in found if each.label is label]
    return f"{sum(each.is_published is is_published for each in mine)} of {len(mine)}" if mine else "-"


def _held(found: Sequence[Judged], label: Label) -> str:
    rules = [each.rule for each in found if each.label is label and not each.is_published]
    return ", ".join(f"{rule} ({rules.count(rule)})" for rule in sorted(set(rules))) or "-"


def draw(found: Sequence[Judged], path: Path) -> None:
    """Write the picture to `path`: by section, right and wrong for GOOD and BAD. Raises OSError."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sections = list(dict.fromkeys(each.section for each in found if each.is_expected))[::-1]
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(8.0, 0.9 + 0.27 * len(sections)), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_side(left, found, sections, Label.GOOD)
        _draw_side(right, found, sections, Label.BAD)
        figure.legend(*left.get_legend_handles_labels(), frameon=False, ncols=2, loc="outside lower center")
        figure.savefig(path, dpi=120)


def _draw_side(axes: Any, found: Sequence[Judged], sections: Sequence[str], label: Label) -> None:
    mine = [[each for each in found if each.section == section and each.label is label] for section in sections]
    right = [sum(each.is_right for each in replies) for replies in mine]
    wrong = [sum(not each.is_right for each in replies) for replies in mine]
    told = "published" if label is Label.GOOD else "not published"
    axes.barh(sections, right, color="#1f5a99", label="as its label asks")
    axes.barh(sections, wrong, left=right, color="#e08a1e", label="not as its label asks")
    axes.set_title(f"{label}: {sum(right)} of {sum(right) + sum(wrong)} {told}")
    axes.xaxis.get_major_locator().set_params(integer=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when document, model and policy load."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.training.evaluate_spec", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--spec", type=Path, required=True, help="the document, model_spec.md")
    parser.add_argument(
        "--encoder", default=PACKAGED, help="folder of an encoder; empty: none (default: the packaged one)"
    )
    parser.add_argument("--page", type=Path, help="put the report between the marks of this page instead")
    parser.add_argument("--picture", type=Path, help="write a picture there too; needs matplotlib")
    given = parser.parse_args(arguments)
    encoder = Encoder(encoder_folder(given.encoder)) if given.encoder else None
    found = judge_all(given.spec.read_text("utf-8"), packaged_bundle(), encoder)
    if given.page:
        given.page.write_text(with_report(given.page.read_text("utf-8"), found), "utf-8")
    else:
        print("\n".join(report(found)))
    if given.picture:
        draw(found, given.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
