"""PromQL that several dashboards use."""

from typing import Final

from helm.monitoring.panel import Query

_RATE: Final = "$__rate_interval"


def rate(metric: str, by: str = "", only: str = "") -> str:
    """Return the rate of a counter, summed by some labels, over the series that match `only`."""
    matchers = f"{only},$where" if only else "$where"
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{matchers}}}[{_RATE}]))"


def quantile(share: float, metric: str, by: str = "") -> Query:
    """Return a quantile of a histogram, for each value of the label `by` if one is named."""
    labels = f"le, {by}" if by else "le"
    legend = f"p{share * 100:g}" + (f" {{{{{by}}}}}" if by else "")
    expr = f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{$where}}[{_RATE}])))"
    return Query(expr, legend, has_exemplars=True)


def percentiles(metric: str) -> tuple[Query, ...]:
    """Return the median, the 95th and the 99th percentile."""
    return tuple(quantile(share, metric) for share in (0.5, 0.95, 0.99))
