"""Runs a stage's batches on a pool of Ray actors.

A stage is pure, so a batch whose actor died, is restarting or hangs is sent again, to another replica where there is
one, within the stage's timeout. Retries are decided here and not by Ray: it would not keep their number.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from topology.errors import CheckFailed
from topology.labels import Outcome
from topology.ports import CheckInput, CheckReport
from workers.settings import StageSettings

RETRY_PAUSE_S = 0.25
"""Wait before a batch is sent again: a killed actor answers again after about two seconds."""

PATIENCE = 0.5
"""Share of the timeout after which a batch goes to another replica as well: one that hangs takes some 20 s to be
found out and replaced, and without this every batch that it is given until then is withheld."""

_encoder = msgspec.msgpack.Encoder()
_report_decoder = msgspec.msgpack.Decoder(list[CheckReport])


class ActorRunner:
    """A `Runner` over stage actors. `actors` are handles of `workers.actors.StageActor`."""

    def __init__(self, name: str, actors: Sequence[Any], settings: StageSettings) -> None:
        self._name = name
        self._actors = list(actors)
        self._settings = settings
        self._patience_s = settings.timeout_s * PATIENCE if len(self._actors) > 1 else None
        self._next = 0

    def prepare(self, given: CheckInput) -> bytes:
        """The input as MessagePack, encoded once."""
        return _encoder.encode(given)

    def size(self, item: bytes) -> int:
        """The item's length."""
        return len(item)

    async def run(self, items: Sequence[bytes]) -> Sequence[CheckReport]:
        """As `Runner.run`. Raises CheckFailed when no replica answers in time or the stage raises."""
        batch = _encoder.encode([msgspec.Raw(item) for item in items])
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._run_somewhere(batch)
        except TimeoutError as exc:
            detail = f"no report in {self._settings.timeout_s:g} s"
            raise CheckFailed(Outcome.TIMEOUT, self._name, detail) from exc

    def close(self) -> None:
        """Nothing to let go of: the supervisor owns the actors."""

    async def _run_somewhere(self, batch: bytes) -> Sequence[CheckReport]:
        while True:  # bounded by the caller's timeout
            actor = self._actors[self._next % len(self._actors)]
            self._next += 1
            try:
                async with asyncio.timeout(self._patience_s):
                    reports = await actor.run.remote(batch)
                return _report_decoder.decode(reports)
            except TimeoutError:  # of this replica: the next one gets what time is left
                continue
            except (ActorDiedError, ActorUnavailableError):
                await asyncio.sleep(RETRY_PAUSE_S)
            except RayTaskError as exc:
                raise CheckFailed(Outcome.CRASHED, self._name, type(exc.cause).__name__) from exc
            except RayError as exc:
                raise CheckFailed(Outcome.UNREACHABLE, self._name, type(exc).__name__) from exc
            except msgspec.MsgspecError as exc:
                raise CheckFailed(Outcome.UNPARSABLE, self._name, "the actor's reports are not valid") from exc
