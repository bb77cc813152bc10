"""An evaluation: rows of every kind through the guards, and a report of all figures."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from serving.evaluation.examples import prefix_ends
from serving.evaluation.figures import Figures, rows_of
from serving.evaluation.intervals import Share
from serving.evaluation.noise import noisy
from serving.evaluation.rows import ConversationRow, DocumentRow, ReplyRow, RequestRow, Row
from serving.evaluation.running import Guards, read_conversation, read_document, read_prefix, read_reply, read_request
from topology.contract.errors import CheckFailed

NOISY = "noisy copies, "
MILLISECONDS = 1_000
PREFIXES_MAX = 4

SpansOf = Callable[[str], Sequence[tuple[int, int]]]
"""A function that says which stretches of a document give orders."""


class Report(Struct, frozen=True, kw_only=True):
    """The figures, by figure and then by language; rows without an answer; mean milliseconds of a row by kind."""

    shares: dict[str, dict[str, Share]]
    abstentions: int
    rows: int
    milliseconds: dict[str, float]


class Evaluation:
    """The rows counted so far."""

    def __init__(
        self,
        guards: Guards,
        spans_of: SpansOf | None = None,
        *,
        noise_seed: int | None = None,
        has_prefixes: bool = False,
    ) -> None:
        self._guards = guards
        self._has_prefixes = has_prefixes
        self._spans_of = spans_of
        self._noise_seed = noise_seed
        self._figures = Figures()
        self._noisy = Figures()
        self._seconds: dict[str, list[float]] = {}
        self._abstentions = 0
        self._rows = 0

    async def add(self, row: Row) -> None:
        """Run one row and count it; where the guards cannot tell, only that is counted."""
        self._rows += 1
        try:
            await self._run(row)
        except CheckFailed:
            self._abstentions += 1

    async def _run(self, row: Row) -> None:
        match row:
            case RequestRow():
                read = await read_request(self._guards, row)
                self._seconds.setdefault("request", []).append(read.seconds)
                self._figures.request(row, read)
                if self._noise_seed is not None:
                    careless = noisy(row, self._noise_seed)
                    self._noisy.request(careless, await read_request(self._guards, careless))
            case ReplyRow():
                judged = await read_reply(self._guards, row)
                self._seconds.setdefault("reply", []).append(judged.seconds)
                self._figures.reply(row, judged)
                for end in _ends(row) if self._has_prefixes else ():
                    self._figures.prefix(row, end, await read_prefix(self._guards, row, end))
            case DocumentRow():
                spans = None if self._spans_of is None else self._spans_of(row.text)
                self._figures.document(row, await read_document(self._guards, row), spans)
            case ConversationRow():
                self._figures.conversation(row, await read_conversation(self._guards, row))

    def report(self) -> Report:
        """Return the figures."""
        copies = {f"{NOISY}{figure}": shares for figure, shares in self._noisy.shares().items()}
        return Report(
            shares=self._figures.shares() | copies,
            abstentions=self._abstentions,
            rows=self._rows,
            milliseconds={kind: round(MILLISECONDS * sum(each) / len(each), 2) for kind, each in self._seconds.items()},
        )


def _ends(row: ReplyRow) -> Sequence[int]:
    """Return where a reply is cut: a good one after some of its sentences, a bad one around the one that crosses."""
    if row.expect.may_leave:
        return prefix_ends(row.reply, PREFIXES_MAX)
    if row.expect.crosses is None:
        return ()
    start, end = row.expect.crosses
    return (start, end) if row.reply[:start].strip() else (end,)


def markdown(report: Report) -> Iterator[str]:
    """Yield the report as Markdown: a table for each figure, a language a row."""
    for figure, shares in report.shares.items():
        yield from (f"\n**{figure}**\n", "| language | share | 95 % | rows |", "|---|---|---|---|")
        yield from rows_of(shares)
    yield f"\n{report.rows} rows, {report.abstentions} without an answer"
    for kind, milliseconds in report.milliseconds.items():
        yield f"{milliseconds} ms a {kind}"


def side_by_side(reports: Sequence[tuple[str, Report]], languages: Iterable[str] = ("all",)) -> Iterator[str]:
    """Yield a Markdown table of several reports: a figure and language a row, a report a column."""
    yield f"| figure | language | {' | '.join(name for name, _ in reports)} |"
    yield f"|---|---|{'---|' * len(reports)}"
    wanted = list(languages)
    for figure in dict.fromkeys(figure for _, report in reports for figure in report.shares):
        for language in wanted:
            cells = [_cell(report.shares.get(figure, {}).get(language)) for _, report in reports]
            if any(cells):
                yield f"| {figure} | {language} | {' | '.join(each or '-' for each in cells)} |"


def _cell(share: Share | None) -> str:
    return "" if share is None else f"{share.share:.3f} ({share.low:.2f}\u2013{share.high:.2f})"
