"""The findings of a draft from a reading of the encoder, joined with what rules found in it. Pure."""

from collections.abc import Iterable, Mapping

from msgspec import structs

from serving.guards.encoder.heads import CATEGORIES
from serving.guards.encoder.model import Reading
from serving.guards.encoder.requests import SOURCE
from serving.guards.encoder.thresholds import Thresholds
from serving.personal_data.private_data import PRIVATE
from topology.contract.drafts import CheckReport
from topology.contract.labels import CategoryId, Confidence, Declines, Level, OutputFinding, RequestFinding
from topology.policy.bundle import Category

MENTION: Level = 1
"""The detail of a draft that the encoder does not think barred: it speaks of a subject, within its limits."""

BARRED_DETAIL: Level = 3
"""The least detail of a draft that the encoder thinks barred: steps, explicit content, particular items."""


RULES = "rules"
"""The source of what rules find in a draft."""

OF_GROUPS = (CategoryId("hate"), CategoryId("harassment"))
"""The categories for which the encoder takes neutral sentences on groups of people."""

ASKED_BONUS = 0.3
"""What a subject that was asked for is ahead of another, when the subject of a barred draft is chosen."""


def with_reply(
    report: CheckReport,
    reading: Reading,
    asked: Iterable[RequestFinding],
    categories: Mapping[CategoryId, Category],
    at: Thresholds,
) -> CheckReport:
    """Return a report whose findings are the encoder's and those of rules that it leaves room for.

    Private items need no guess and always stay. The encoder says whether a draft is barred, and on which subjects it
    speaks. A barred draft has at least D3 in its likeliest subject; one that is not has no more than a mention, unless
    a rule saw more. That a draft is hateful takes a second source, the request or a rule: the encoder takes sentences
    that merely name groups for such.
    """
    barred = reading.of("barred")
    is_barred = barred >= at.barred
    named = {one.category: one for one in asked}
    found: dict[CategoryId, OutputFinding] = {
        one.category: one for one in report.findings if one.category == PRIVATE or barred >= at.agreed
    }
    likeliest = _likeliest(reading, named, categories)
    if likeliest in OF_GROUPS and likeliest not in {*named, *found}:
        is_barred = False
    for category, probability in zip(CATEGORIES, reading.heads["reply_category"].tolist(), strict=True):
        name = CategoryId(category)
        is_subject = is_barred and name == likeliest
        if name not in categories or (probability < at.reply_category and not is_subject):
            continue
        detail = max(BARRED_DETAIL, int(reading.chosen("detail"))) if is_barred else min(MENTION, _told(reading))
        lowest, highest = categories[name].harm
        harm = named[name].harm if name in named else highest if is_barred else lowest
        sure = Confidence.HIGH if not is_barred or barred >= at.sure else Confidence.LOW
        _keep(found, name, harm, detail, sure, max(probability, barred if is_subject else 0.0))
    return structs.replace(
        report,
        findings=tuple(found[name] for name in sorted(found)),
        declines=_declines(report, reading),
        # What offers nothing is no refusal yet: a text that says nothing looks bare too.
        bare_refusal=reading.of("bare_refusal") >= at.bare and reading.chosen("declines") == Declines.FULLY,
        scores=report.scores | {"encoder.barred": barred, "encoder.unfair": reading.of("unfair")},
    )


def _likeliest(
    reading: Reading, named: Mapping[CategoryId, RequestFinding], categories: Mapping[CategoryId, Category]
) -> CategoryId:
    """Return the subject that a barred draft most probably has; those that were asked for come first."""
    scores = {
        CategoryId(name): score + (ASKED_BONUS if name in named else 0.0)
        for name, score in zip(CATEGORIES, reading.heads["reply_category"].tolist(), strict=True)
        if name in categories
    }
    return max(scores, key=lambda name: scores[name])


def _told(reading: Reading) -> Level:
    return int(reading.chosen("detail"))


def _declines(report: CheckReport, reading: Reading) -> Declines:
    """Return how much a draft declines: what rule and encoder agree on, else the lesser of the two."""
    ranks = tuple(Declines)
    seen = Declines(reading.chosen("declines"))
    return seen if report.declines is None else min(seen, report.declines, key=ranks.index)


def _keep(
    found: dict[CategoryId, OutputFinding],
    name: CategoryId,
    harm: Level,
    detail: Level,
    sure: Confidence,
    probability: float,
) -> None:
    known = found.get(name)
    sources = tuple(sorted({SOURCE, *(known.sources or (RULES,))})) if known else (SOURCE,)
    if known is not None and known.detail_hi >= detail:
        found[name] = structs.replace(known, sources=sources, agreed=detail)
        return
    found[name] = OutputFinding(
        category=name,
        harm=harm,
        detail_lo=detail,
        detail_hi=detail,
        confidence=sure,
        probability=round(min(1.0, probability), 4),
        sources=sources,
        agreed=known.detail_hi if known else 0,
    )
