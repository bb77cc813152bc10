"""The use of the platform by tenants: their share of what runs next, the cost of an event, and the sums on the topic.

A sum is cumulative: it is of one tenant, one source partition and one day, so the newest record of a key says
everything, and all sums together are the cost of every event that was answered.
"""

from enum import StrEnum

from msgspec import Struct

from topology.contract.events import Id


class Priority(StrEnum):
    """The class of a tenant's events, the most urgent first; a class that waits is never passed over for ever."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"


class Share(Struct, frozen=True, kw_only=True):
    """A tenant's share of what runs next: tenants of one class share it in proportion to their weights."""

    tenant_id: str
    weight: int = 1
    priority: Priority = Priority.STANDARD


class Spent(Struct, frozen=True, kw_only=True):
    """The cost of one stage: calls, and the tokens of a model."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )

    @property
    def tokens(self) -> int:
        """Return the tokens of both directions."""
        return self.input_tokens + self.output_tokens


class Use(Struct, frozen=True, kw_only=True):
    """The use of one event, or the sum of many. `events + limited + repeated` counts the answers.

    `events` were admitted, `limited` were answered `rate_limited`, and `repeated` were second copies of an answered
    event. `shadow_limited` of the admitted ones would have been refused by a budget that only counts. `regeneration`
    counts every draft after an event's first, and `guards` every guard that ran.
    """

    events: int = 0
    limited: int = 0
    repeated: int = 0
    shadow_limited: int = 0
    generation: Spent = Spent()
    regeneration: Spent = Spent()
    guards: Spent = Spent()

    def __add__(self, other: "Use") -> "Use":
        return Use(
            events=self.events + other.events,
            limited=self.limited + other.limited,
            repeated=self.repeated + other.repeated,
            shadow_limited=self.shadow_limited + other.shadow_limited,
            generation=self.generation + other.generation,
            regeneration=self.regeneration + other.regeneration,
            guards=self.guards + other.guards,
        )

    @property
    def tokens(self) -> int:
        """Return the tokens that count against a budget: those of every draft."""
        return self.generation.tokens + self.regeneration.tokens

    @property
    def answers(self) -> int:
        """Return how many events were answered."""
        return self.events + self.limited + self.repeated


class Charge(Struct, frozen=True, kw_only=True):
    """The use of one answered event, and the tenant that it is charged to."""

    tenant_id: str
    use: Use


class Counted(Struct, frozen=True, kw_only=True):
    """What counts against budgets in the window that began at `start_ms`."""

    start_ms: int = 0
    events: int = 0
    tokens: int = 0


class UsageRecord(Struct, frozen=True, kw_only=True):
    """The use of one tenant on one source partition and one day, on `sluicegate.usage`; the newest of a key holds.

    `day_ms` is the day's start (UTC), and `use` its sum so far. `hour` and `minute` are the newest windows of that day;
    they are what a worker needs that takes the partition over.
    """

    tenant_id: Id
    topic: str
    partition: int
    day_ms: int
    use: Use = Use()
    hour: Counted = Counted()
    minute: Counted = Counted()

    @property
    def key(self) -> bytes:
        """Return the key of its record."""
        return f"{self.tenant_id}/{self.topic}/{self.partition}/{self.day_ms}".encode()
