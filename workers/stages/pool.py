"""The runner of a stage's batches on a pool of Ray actors.

A stage is pure, so a batch whose actor died, is restarting or hangs is sent again, to another replica if there is one.
Retries are decided here and not by Ray, which would not keep to their number. An actor that starts gets no batch before
it has answered once: it loads its model and warms up first. A batch waits behind those of other workers, so only the
actor knows how long it has served: it is asked, and a batch that merely waits its turn is neither late nor sent twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.load.service_time import WALL_SHARE
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput
from workers.settings import StageSettings
from workers.stages.calls import Reports, decode_answer, encode_batch, encode_item, encode_policies

RETRY_PAUSE_S = 0.25
"""Wait before an actor that could not be reached is asked again. A killed one answers after two seconds or more."""

PATIENCE = 0.5
"""Share of a draft's limit that it may be in service before its batch is sent to another replica as well. A replica
that hangs is replaced after some 20 s, and without this every batch that it gets until then would be withheld."""

LOOKS_PER_LIMIT = 4
"""Times that an actor is asked within a draft's limit how long it has served; it answers even while it judges."""


class Parcel(NamedTuple):
    """An encoded input, and the policy that it names."""

    item: bytes
    policy: PolicyBundle


def wait_until_warm(actors: Sequence[Any], timeout_s: float) -> None:
    """Wait until every stage actor has answered once, or failed, so that no event's limit runs while they start.

    An actor that does not answer in time is left to the supervisor; it gets no batch before it does.
    """
    answers = [actor.health.remote() for actor in actors]
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=timeout_s)


class _Replica:
    """A stage actor, and whether it has answered since it was last started."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.is_warm = False
        self.watch: asyncio.Task[None] | None = None


class ActorRunner:
    """A `Runner` over stage actors. `actors` are handles of `workers.supervision.actors.StageActor`."""

    def __init__(self, name: str, actors: Sequence[Any], settings: StageSettings) -> None:
        self._name = name
        self._replicas = [_Replica(actor) for actor in actors]
        self._settings = settings
        self.batches_max = settings.in_flight_max * len(self._replicas)
        self._patience_s = settings.timeout_s * (PATIENCE if len(self._replicas) > 1 else 1)
        self._next = 0
        self._has_warmed = asyncio.Event()

    def prepare(self, given: CheckInput) -> Parcel:
        """Return the input as MessagePack, encoded once."""
        return Parcel(encode_item(given), given.policy)

    def size(self, item: Parcel) -> int:
        """Return the encoded input's length."""
        return len(item.item)

    async def run(self, items: Sequence[Parcel]) -> Sequence[CheckReport]:
        """See `Runner.run`. Raises CheckFailed if every replica is over a draft's limit, or the stage raises.

        The last bound, for a pool without any replica, is that of a thread (topology/load/service_time.py).
        """
        batch = encode_batch([item for item, _ in items])
        policies = {policy.ref: policy for _, policy in items}
        try:
            async with asyncio.timeout(self._settings.timeout_s / WALL_SHARE):
                return await self._run_somewhere(batch, policies)
        except TimeoutError as exc:
            raise self._late() from exc

    def close(self) -> None:
        """Stop asking for actors that do not answer. The actors themselves are the supervisor's."""
        for replica in self._replicas:
            if replica.watch is not None:
                replica.watch.cancel()

    async def _run_somewhere(self, batch: bytes, policies: Mapping[str, PolicyBundle]) -> Sequence[CheckReport]:
        over_limit: set[int] = set()
        while len(over_limit) < len(self._replicas):  # bounded by the caller's timeout too
            replica = await self._next_warm()
            try:
                return await self._watched(replica, batch, policies)
            except TimeoutError:  # this replica's alone
                over_limit.add(id(replica))
            except (ActorDiedError, ActorUnavailableError):
                replica.is_warm = False
                self._watch(replica, RETRY_PAUSE_S)
            except RayTaskError as exc:
                raise CheckFailed(Outcome.CRASHED, self._name, type(exc.cause).__name__) from exc
            except RayError as exc:
                raise CheckFailed(Outcome.UNREACHABLE, self._name, type(exc).__name__) from exc
            except msgspec.MsgspecError as exc:
                raise CheckFailed(Outcome.UNPARSABLE, self._name, "the actor's reports are not valid") from exc
        raise self._late()

    def _late(self) -> CheckFailed:
        return CheckFailed(Outcome.TIMEOUT, self._name, f"no report in {self._settings.timeout_s:g} s")

    async def _watched(
        self, replica: _Replica, batch: bytes, policies: Mapping[str, PolicyBundle]
    ) -> Sequence[CheckReport]:
        """Return the reports of one replica. Raises TimeoutError once it serves a draft for too long."""
        look_s = self._settings.timeout_s / LOOKS_PER_LIMIT
        answer = asyncio.ensure_future(self._run_on(replica.actor, batch, policies))
        try:
            while not (await asyncio.wait([answer], timeout=look_s))[0]:  # the actor answers, or is over the limit
                if await self._busy_s(replica) >= self._patience_s and not answer.done():
                    raise TimeoutError
            return await answer
        finally:
            answer.cancel()
            answer.add_done_callback(_take_error)

    async def _busy_s(self, replica: _Replica) -> float:
        """Return how long the replica's present draft has been served.

        One that does not say starves, or is replaced by the supervisor: 0, unless another replica could take the batch.
        """
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return (await replica.actor.health.remote()).busy_s
        except TimeoutError:
            return self._patience_s if len(self._replicas) > 1 else 0.0

    async def _next_warm(self) -> _Replica:
        """Return the replica whose turn it is among those that are warm. Waits until there is one."""
        while True:  # bounded by the caller's timeout
            for _ in self._replicas:
                replica = self._replicas[self._next % len(self._replicas)]
                self._next += 1
                if replica.is_warm:
                    return replica
                self._watch(replica)
            self._has_warmed.clear()
            await self._has_warmed.wait()

    def _watch(self, replica: _Replica, pause_s: float = 0.0) -> None:
        """Ask the replica, after a pause, until it answers; at most one task does so."""
        if replica.watch is None:
            replica.watch = asyncio.create_task(self._wait_until_warm(replica, pause_s))

    async def _wait_until_warm(self, replica: _Replica, pause_s: float) -> None:
        while not replica.is_warm:  # until the runner is closed
            await asyncio.sleep(pause_s)
            pause_s = RETRY_PAUSE_S
            with suppress(RayError):  # it is still starting, or gone
                await replica.actor.health.remote()
                replica.is_warm = True
        replica.watch = None
        self._has_warmed.set()

    async def _run_on(self, actor: Any, batch: bytes, policies: Mapping[str, PolicyBundle]) -> Sequence[CheckReport]:
        """Return the reports of one replica, which is given the policies that it does not know yet."""
        answer = decode_answer(await actor.run.remote(batch))
        if not isinstance(answer, Reports):
            wanted = [policies[ref] for ref in answer.refs if ref in policies]
            answer = decode_answer(await actor.run.remote(batch, encode_policies(wanted)))
        if not isinstance(answer, Reports):
            raise CheckFailed(Outcome.UNPARSABLE, self._name, "the actor wants policies that it was given")
        return answer.reports


def _take_error(answer: asyncio.Future[Sequence[CheckReport]]) -> None:
    """Take the error of an answer that nobody waits for, which asyncio would log."""
    if not answer.cancelled():
        answer.exception()
