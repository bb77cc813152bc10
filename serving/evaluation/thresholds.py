"""The encoder's thresholds by stated cost: each is tried in turn, and the one at which rows cost least is kept. Pure.

What an error costs is in REQUEST_COSTS and REPLY_COSTS. At risk: recall first, since a needless help line costs little
beside a cry that is not heard. Everyday requests: precision first, because there are so many of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, structs

from serving.evaluation.expected import user_of
from serving.evaluation.figures import Counted, reply_figures, request_figures
from serving.evaluation.rows import ReplyRow, RequestRow
from serving.evaluation.running import Judged, Read
from serving.guards.encoded import thresholds_for
from serving.guards.encoder.model import Reading
from serving.guards.encoder.requests import with_reading
from serving.guards.encoder.texts import given_request
from serving.guards.encoder.thresholds import Thresholds
from topology.contract.labels import RequestLabels
from topology.decision.plan import plan
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import STRICTEST

REQUEST_COSTS: Mapping[str, tuple[float, float]] = {
    "mode": (1.0, 0.0),
    "at risk, own words": (4.0, 0.0),
    "at risk, outright": (8.0, 0.0),
    "everyday alarms": (0.0, 8.0),
    "refusals planned direct": (0.0, 3.0),
    "harmless not direct": (0.0, 5.0),
    "malicious": (1.0, 0.0),
    "a right category": (0.5, 0.0),
}
"""By figure: the cost of a row that is no hit, and of one that is."""

REPLY_COSTS: Mapping[str, tuple[float, float]] = {
    "bad replies held": (1.0, 0.0),
    "good replies held": (0.0, 2.5),
    "unfair replies held": (1.0, 0.0),
    "unfair false alarms": (0.0, 1.0),
}

LEVELS = (
    0.05,
    0.08,
    0.12,
    0.16,
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
    0.55,
    0.6,
    0.65,
    0.7,
    0.75,
    0.8,
    0.85,
    0.9,
    0.95,
    2.0,
)
OF_REQUESTS = ("risk", "malicious", "refused", "category", "other", "direct", "second", "sure")
OF_REPLIES = ("barred", "agreed", "reply_category", "unfair")
ROUNDS = 3
LENIENCE = {"risk": 0.01}
"""By threshold: how much dearer, as a share of the least cost, a lower level may be. At risk: recall first."""

Cost = Callable[[Thresholds], float]


class AskedCase(Struct, frozen=True, kw_only=True):
    """A labelled request with what the phrase rules and the encoder say of it."""

    row: RequestRow
    ruled: RequestLabels
    reading: Reading


class ReplyCase(Struct, frozen=True, kw_only=True):
    """A labelled reply, and the verdict on it under given thresholds."""

    row: ReplyRow
    judged: Callable[[Thresholds], Judged]


def fitted(names: Iterable[str], cost: Cost, start: Thresholds) -> Thresholds:
    """Return thresholds under which the cost is least, found by trying one after another, in ROUNDS rounds.

    Among levels of equal cost the one in their middle is kept; of a threshold in `LENIENCE` the lowest.
    """
    best = start
    for _ in range(ROUNDS):
        before = best
        for name in names:
            costs = [cost(structs.replace(best, **{name: level})) for level in LEVELS]
            most = min(costs) * (1 + LENIENCE.get(name, 0.0)) + 1e-9
            good = [level for level, each in zip(LEVELS, costs, strict=True) if each <= most]
            best = structs.replace(best, **{name: good[0] if name in LENIENCE else good[len(good) // 2]})
        if best == before:
            break
    return best


def request_cost(cases: Sequence[AskedCase], bundle: PolicyBundle) -> Cost:
    """Return the mean cost of requests as a function of thresholds."""

    def cost(at: Thresholds) -> float:
        return sum(_cost(REQUEST_COSTS, request_figures(each.row, _read(each, bundle, at))) for each in cases) / len(
            cases
        )

    return cost


def reply_cost(cases: Sequence[ReplyCase]) -> Cost:
    """Return the mean cost of replies as a function of thresholds."""

    def cost(at: Thresholds) -> float:
        return sum(_cost(REPLY_COSTS, reply_figures(each.row, each.judged(at))) for each in cases) / len(cases)

    return cost


def _read(case: AskedCase, bundle: PolicyBundle, at: Thresholds) -> Read:
    given = given_request([(each.role, each.text) for each in case.row.messages])
    labels = with_reading(case.ruled, case.reading, bundle.categories, thresholds_for(given, at))
    made = plan(bundle, labels, overlay=STRICTEST, user=user_of(case.row.age), grants=())
    return Read(labels=labels, made=made)


def _cost(costs: Mapping[str, tuple[float, float]], counted: Counted) -> float:
    return sum(costs[name][is_hit] for name, is_hit in counted if name in costs)
