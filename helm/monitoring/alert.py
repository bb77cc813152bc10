"""The shape of an alert: when it fires, how urgent it is, and what to do first.

In an expression, `$where` stands for label matchers that narrow it to one deployment, and `$threshold` for the alert's
own bound, which operators can change without editing the expression.
"""

from typing import Final, Literal

from msgspec import Struct

Severity = Literal["page", "warning", "ticket"]

VOLUME_FLOOR: Final = 0.1
"""Events per second below which ratios are ignored: a single failed event at night would be 100 %."""


class Alert(Struct, frozen=True, kw_only=True):
    """One rule. `hold` is how long the condition must last (Prometheus' `for`); `first` is the first thing to do.

    `threshold` is None if the expression has no bound of its own.
    """

    name: str
    group: str
    expr: str
    hold: str
    severity: Severity
    summary: str
    first: str
    threshold: float | None = None

    @property
    def runbook(self) -> str:
        """Return the file name of its page in `docs/runbooks`."""
        return f"{self.name}.md"

    def filled(self, where: str = "", threshold: float | None = None) -> str:
        """Return the expression with its marks filled in; `threshold` None means the alert's own."""
        bound = self.threshold if threshold is None else threshold
        return fill(self.expr.replace("$threshold", "" if bound is None else f"{bound:g}"), where)


def fill(expr: str, where: str) -> str:
    """Replace `$where` in an expression by label matchers, possibly none."""
    return expr.replace("$where", where).replace(",}", "}").replace("{}", "")
