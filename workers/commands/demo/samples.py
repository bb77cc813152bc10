"""The sample conversations of the demo.

The conversations are data in `samples.yaml` and become events here. The same count and seed give the same events.
"""

import math
import random
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from itertools import islice

import msgspec
from msgspec import Struct

from topology.contract.events import (
    Candidate,
    CodePart,
    ContentPart,
    ConversationEvent,
    GenerationParameters,
    Grant,
    ImagePart,
    Message,
    Role,
    TextPart,
    UserContext,
)
from topology.contract.labels import AgeBand

TENANTS = ("open-chat", "harbour-bank", "school-desk", "clinic-chat", "code-helper", "news-room")
REGIONS = ("GB", "US", "IE", "CA", "AU")
OUTPUT_TOKENS = (16, 64)
"""The fewest and the most tokens that a sample asks for: a model that writes noise need not write much."""

UPSTREAM = "upstream-sample"
"""The model that a candidate names."""

_GRANT_UNTIL_MS = 4_102_444_800_000
"""The year 2100, because the signature is wrong, not the date."""

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")


class SampleKind(StrEnum):
    """The behaviour that a sample shows."""

    BENIGN = "benign"
    SCARY_BENIGN = "scary_benign"
    DUAL_USE = "dual_use"
    MALICIOUS = "malicious"
    CRISIS = "crisis"
    EMERGENCY = "emergency"
    INJECTED = "injected"
    JAILBREAK = "jailbreak"
    TRANSFORMATION = "transformation"
    PRIVACY = "privacy"
    TEEN = "teen"
    REGULATED = "regulated"
    LANGUAGE = "language"
    CODE = "code"
    IMAGE = "image"
    MULTI_TURN = "multi_turn"
    CANDIDATE_GOOD = "candidate_good"
    CANDIDATE_REFUSAL = "candidate_refusal"
    CANDIDATE_PERSONAL = "candidate_personal"
    CANDIDATE_OVER = "candidate_over"
    GRANT = "grant"


class Turn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message of a template; `text` may hold choices."""

    role: Role
    text: str


class Template(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One conversation with its choices. `user` alone stands for one user turn.

    With `each_turn`, every user turn becomes its own event, with all turns before it. `answer` fits the last user turn
    in every wording, and is empty with a candidate. An empty `tenant` or `region` is drawn at random; `grant` names a
    grant that is added with an invalid signature.
    """

    kind: SampleKind
    user: str = ""
    turns: tuple[Turn, ...] = ()
    answer: str = ""
    code: str = ""
    language: str = ""
    image: str = ""
    candidate: str = ""
    locale: str = "en"
    region: str = ""
    tenant: str = ""
    age: AgeBand = AgeBand.UNKNOWN
    verified: bool = False
    grant: str = ""
    each_turn: bool = False

    def __post_init__(self) -> None:
        if bool(self.user) == bool(self.turns):
            raise ValueError("a template has either user or turns")
        if bool(self.answer) == bool(self.candidate):
            raise ValueError("a template has either an answer or a candidate")

    def conversation(self) -> tuple[Turn, ...]:
        """Return the turns, in order."""
        return self.turns or (Turn(role=Role.USER, text=self.user),)

    def variant_count(self) -> int:
        """Return the number of wordings of this template."""
        texts = (*(turn.text for turn in self.conversation()), self.candidate, self.region)
        return math.prod(match.count("|") + 1 for text in texts for match in _CHOICE.findall(text))


class Sample(Struct, frozen=True, kw_only=True):
    """An event, and the behaviour that it shows."""

    kind: SampleKind
    event: ConversationEvent


@lru_cache(maxsize=1)
def templates() -> tuple[Template, ...]:
    """Return all templates of the packaged data file, in its order."""
    data = resources.files("workers.commands.demo").joinpath("samples.yaml").read_bytes()
    return msgspec.yaml.decode(data, type=tuple[Template, ...])


def samples(count: int, seed: int) -> list[Sample]:
    """Return `count` samples; every template comes once before any comes twice, then in another wording.

    The events of a conversation are in order. The end may cut off a conversation of several events.
    """
    return list(islice(_endless(seed), count))


def sample_events(count: int, seed: int) -> list[ConversationEvent]:
    """Return the events of `samples`. Event ids are unique for a seed."""
    return [sample.event for sample in samples(count, seed)]


def known_answers() -> Iterator[tuple[str, str]]:
    """Yield every user turn that needs an answer, in every wording, with a fitting answer."""
    for template in templates():
        for index in range(0 if template.candidate else template.variant_count()):
            wording = _Wording(index, template.variant_count())
            turns = [(turn.role, wording.choose(turn.text)) for turn in template.conversation()]
            following = [text if role is Role.ASSISTANT else template.answer for role, text in turns[1:]]
            paired = zip(turns, (*following, template.answer), strict=True)
            yield from ((text, answer) for (role, text), answer in paired if role is Role.USER)


def _endless(seed: int) -> Iterator[Sample]:
    draw = random.Random(seed)
    start = {id(template): draw.randrange(template.variant_count()) for template in templates()}
    number = 0
    for lap in range(1 << 30):
        order = list(templates())
        draw.shuffle(order)
        for template in order:
            number += 1
            wording = _Wording(start[id(template)] + lap, template.variant_count())
            yield from _samples_of(template, wording.choose, f"demo-{seed}-{number:05d}", draw)


class _Wording:
    """A wording: one alternative at each choice. Consecutive indices differ until all are used."""

    def __init__(self, index: int, variant_count: int) -> None:
        self._rest = index % variant_count

    def choose(self, text: str) -> str:
        """Return `text` with every choice made. Call it on a template's texts in a fixed order."""
        return _CHOICE.sub(self._alternative, text)

    def _alternative(self, match: re.Match[str]) -> str:
        alternatives = match.group(1).split("|")
        self._rest, chosen = divmod(self._rest, len(alternatives))
        return alternatives[chosen]


def _samples_of(
    template: Template, choose: Callable[[str], str], conversation_id: str, draw: random.Random
) -> Iterator[Sample]:
    messages = tuple(
        Message(role=turn.role, parts=_parts(template, turn, choose(turn.text))) for turn in template.conversation()
    )
    candidate = choose(template.candidate)
    region = choose(template.region) or draw.choice(REGIONS)
    tenant = template.tenant or draw.choice(TENANTS)
    tokens = draw.randint(*OUTPUT_TOKENS)
    ends = [n for n, message in enumerate(messages, 1) if message.role is Role.USER] if template.each_turn else []
    for number, end in enumerate(ends or [len(messages)], 1):
        event = ConversationEvent(
            event_id=f"{conversation_id}-{number}",
            conversation_id=conversation_id,
            tenant_id=tenant,
            messages=messages[:end],
            candidate=Candidate(parts=(TextPart(text=candidate),), model=UPSTREAM) if candidate else None,
            user=_user(template, tenant, region, subject=f"subject-{conversation_id}"),
            generation=GenerationParameters(max_tokens=tokens, temperature=0.7, seed=draw.randrange(1 << 31)),
        )
        yield Sample(kind=template.kind, event=event)


def _parts(template: Template, turn: Turn, text: str) -> tuple[ContentPart, ...]:
    parts: list[ContentPart] = [TextPart(text=text)]
    if turn.role is Role.USER and template.code:
        parts.append(CodePart(code=template.code, language=template.language))
    if turn.role is Role.USER and template.image:
        parts.append(ImagePart(reference=template.image, media_type="image/jpeg"))
    return tuple(parts)


def _user(template: Template, tenant: str, region: str, subject: str) -> UserContext:
    grant = Grant(
        grant=template.grant or "none",
        tenant=tenant,
        subject=subject,
        not_before=0,
        not_after=_GRANT_UNTIL_MS,
        key_id="demo-key",
        signature="bm90IGEgc2lnbmF0dXJl",
    )
    return UserContext(
        subject=subject,
        age_band=template.age,
        age_verified=template.verified,
        locale=template.locale,
        region=region,
        grants=(grant,) if template.grant else (),
    )
