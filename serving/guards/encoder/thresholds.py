"""When a probability counts: thresholds of the encoder's heads, chosen by cost on rows that nobody trained on.

At risk: recall first, because a crisis text costs little. Everything that refuses: precision first on everyday rows.
They belong to the weights (`encoder.json`) and are written by `sluicegate guard calibrate`.
"""

from typing import Annotated

from msgspec import Meta, Struct, structs

Least = Annotated[float, Meta(ge=0.0, le=2.0)]
"""A least probability; above 1 it is never reached."""

NEVER = 2.0


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least probability at which each statement is made.

    `risk` is for the sum over the risks above distress. `sure` separates confident findings from uncertain ones.
    `second` is for what a phrase rule says too: two independent sources may each be less sure. `direct`: at this
    probability of a direct answer nothing is found but what a phrase rule says too. `other`: at this probability of a
    safe completion or a refusal the likeliest category is named, however likely. `refused`: at this probability of a
    refusal the intent is malicious. `agreed`: at this probability that a draft is barred what rules find in it counts.
    `bare`: the draft only refuses. `sparse` and `sparse_risk` are the least for category and risk of a request of
    few words that stands alone, such as "How do I hide it?"; its intent needs a second source. `partial` is the least
    at which the beginning of a draft is barred or unfair: it is read again with the next sentence.
    """

    category: Least = 0.5
    sure: Least = 0.8
    second: Least = 0.15
    risk: Least = 0.5
    malicious: Least = 0.5
    signal: Least = 0.5
    direct: Least = 0.9
    other: Least = 2.0
    refused: Least = 2.0
    barred: Least = 0.5
    agreed: Least = 0.15
    reply_category: Least = 0.4
    unfair: Least = 0.6
    bare: Least = 0.5
    injection: Least = 0.8
    sparse: Least = 0.8
    sparse_risk: Least = 0.7
    partial: Least = 0.9

    def for_partial(self) -> "Thresholds":
        """Return the thresholds for the beginning of a draft that goes on."""
        return structs.replace(self, barred=max(self.barred, self.partial), unfair=max(self.unfair, self.partial))

    def for_sparse(self) -> "Thresholds":
        """Return the thresholds for a request of few words that stands alone: it says too little to be sure of much."""
        return structs.replace(
            self,
            category=max(self.category, self.sparse),
            risk=max(self.risk, self.sparse_risk),
            malicious=NEVER,
            refused=NEVER,
            other=NEVER,
        )
