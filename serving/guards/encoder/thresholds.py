"""When a probability counts: thresholds of the encoder's heads, chosen by cost on rows that nobody trained on.

At risk: recall first, because a crisis text costs little. Everything that refuses: precision first on everyday rows.
"""

from msgspec import Struct


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least probability at which each statement is made.

    `risk` is for the sum over the risks above distress. `sure` separates confident findings from uncertain ones.
    `second` is for what a phrase rule says too: two independent sources may each be less sure. `direct`: at this
    probability of a direct answer nothing is found but what a phrase rule says too.
    """

    category: float = 0.5
    sure: float = 0.8
    second: float = 0.15
    risk: float = 0.5
    malicious: float = 0.5
    signal: float = 0.5
    direct: float = 0.9
    barred: float = 0.5
    reply_category: float = 0.4
    unfair: float = 0.6
