"""Arbitrary values of what crosses a topic."""

from hypothesis import strategies as st

from topology.contract.events import (
    Candidate,
    CodePart,
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

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
IDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
EPOCH_MS = st.integers(0, 253_402_300_799_999)

PARTS = st.lists(
    st.one_of(
        st.builds(TextPart, text=TEXT),
        st.builds(CodePart, code=TEXT, language=TEXT),
        st.builds(ImagePart, reference=IDS, media_type=TEXT, sha256=st.sampled_from(("", "0a" * 32))),
    ),
    min_size=1,
    max_size=4,
).map(tuple)

MESSAGES = st.lists(st.builds(Message, role=st.sampled_from(Role), parts=PARTS), min_size=1, max_size=4).map(tuple)

GRANTS = st.lists(
    st.builds(
        Grant,
        grant=IDS,
        tenant=IDS,
        subject=IDS,
        not_before=EPOCH_MS,
        not_after=EPOCH_MS,
        key_id=IDS,
        signature=TEXT,
    ),
    max_size=2,
).map(tuple)

EVENTS = st.builds(
    ConversationEvent,
    event_id=IDS,
    conversation_id=IDS,
    tenant_id=IDS,
    messages=MESSAGES,
    candidate=st.none() | st.builds(Candidate, parts=PARTS, model=TEXT, response_id=TEXT),
    user=st.builds(
        UserContext,
        subject=TEXT,
        age_band=st.sampled_from(AgeBand),
        age_verified=st.booleans(),
        locale=st.sampled_from(("en", "fr-CA", "")),
        region=st.sampled_from(("US", "")),
        grants=GRANTS,
    ),
    generation=st.builds(
        GenerationParameters,
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1, exclude_min=True),
        max_tokens=st.none() | st.integers(1, 131_072),
        seed=st.none() | st.integers(0, 2**63 - 1),
        stop=st.lists(TEXT, max_size=4).map(tuple),
        ignore_eos=st.booleans(),
    ),
    created_ms=st.none() | EPOCH_MS,
    deadline_ms=st.none() | EPOCH_MS,
)
