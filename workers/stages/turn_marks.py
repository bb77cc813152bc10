"""The marks of turns of the model that answers, found before a worker starts: texts of others must not contain them."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct, structs

from serving.endpoint.tokenizer import TokenizerAnswer, ask_tokenizer
from serving.generation.tokenizer_files import TokenizerUnreadable, marks_of_tokenizer
from serving.generation.tokenizer_marks import UNREADABLE, marks_of_configuration, marks_of_rendering
from serving.text.mark_families import KNOWN_MARKS, families_of
from serving.text.turn_marks import canonical
from topology.contract.errors import RetryLater, SettingsError
from workers.settings import GenerationSettings, Settings
from workers.settings.types import TURN_MARKS_MAX

logger = logging.getLogger("sluicegate.turn_marks")

NONE = "none"
"""The entry of `generation.turn_marks` that says: the model has no marks of its own."""

ASK_TIMEOUT_S = 10.0
"""The longest wait for the model's server at a start."""

CURES = (
    "set generation.tokenizer to the model's tokenizer, serve the model where POST /tokenize is answered, give it a "
    f'name that tells its family, or list its marks in generation.turn_marks (["{NONE}"] if it has none)'
)


def _ask(asked: GenerationSettings, timeout_s: float) -> TokenizerAnswer:
    key = asked.api_key.reveal()
    return asyncio.run(ask_tokenizer(asked.base_url, asked.model, KNOWN_MARKS, api_key=key, timeout_s=timeout_s))


Ask = Callable[[GenerationSettings, float], TokenizerAnswer]


class FoundMarks(Struct, frozen=True, kw_only=True):
    """The marks of a model beside the general ones, sorted, and who said them."""

    marks: tuple[str, ...]
    source: str


def with_turn_marks(settings: Settings) -> Settings:
    """Return the settings with the marks of the model in `generation.turn_marks`, so that nobody asks again.

    Raises SettingsError if nobody says them, and RetryLater if the model's server may do so once it answers.
    """
    found = find_turn_marks(settings.generation, ASK_TIMEOUT_S)
    logger.info("turn marks found", extra={"count": len(found.marks), "source": found.source})
    listed = found.marks or (NONE,)
    return structs.replace(settings, generation=structs.replace(settings.generation, tokenizer="", turn_marks=listed))


def own_marks(asked: GenerationSettings) -> tuple[str, ...]:
    """Return the marks that settings list."""
    return tuple(mark for mark in asked.turn_marks if mark != NONE)


def find_turn_marks(
    asked: GenerationSettings, timeout_s: float, *, environ: Mapping[str, str] = os.environ, ask: Ask = _ask
) -> FoundMarks:
    """Return the marks that the tokenizer of the settings knows, else its server, else those of the model's family.

    Raises as `with_turn_marks`.
    """
    named = _of_files(asked, environ)
    if named:
        return _found({*named, *own_marks(asked)}, f"the tokenizer {asked.tokenizer}")
    if asked.turn_marks:
        return _found(own_marks(asked), "generation.turn_marks")
    families = families_of(asked.model)
    told = {mark for family in families for mark in (*family.marks, *family.words)}
    away: RetryLater | None = None
    try:
        said = _of_answer(ask(asked, timeout_s), told)
    except RetryLater as exc:
        said, away = set[str](), exc
    if said:
        return _found(said, f"the server at {asked.base_url}")
    if families:
        return _found(told, f"the model's name: {', '.join(family.name for family in families)}")
    unknown = SettingsError("generation.model", repr(asked.model), f"a model whose marks of turns are known: {CURES}")
    if away is not None:
        raise RetryLater(away.outcome, away.backend, f"{away.detail}; {unknown}") from away
    raise unknown


def _of_files(asked: GenerationSettings, environ: Mapping[str, str]) -> set[str]:
    if not asked.tokenizer:
        return set()
    try:
        return marks_of_tokenizer(asked.tokenizer, environ)
    except TokenizerUnreadable as exc:
        allowed = f"a tokenizer that can be read: {exc}"
        raise SettingsError("generation.tokenizer", repr(asked.tokenizer), allowed) from exc


def _of_answer(answer: TokenizerAnswer, told: set[str]) -> set[str]:
    """Return the marks of a server's answer.

    Without a configuration these are those that the template writes and the known ones that are tokens; both need not
    be all of them, so what the model's name has `told` joins them.
    """
    try:
        configured = marks_of_configuration(answer.configuration)
    except UNREADABLE:
        configured = set()
    seen = marks_of_rendering(answer.conversation) | answer.known
    return configured | seen if configured else seen and seen | told


def _found(marks: Iterable[str], source: str) -> FoundMarks:
    forms = {canonical(mark) for mark in marks} - {""}
    if len(forms) > TURN_MARKS_MAX:
        raise SettingsError("generation.turn_marks", f"{len(forms)} marks of {source}", f"at most {TURN_MARKS_MAX}")
    return FoundMarks(marks=tuple(sorted(forms)), source=source)
