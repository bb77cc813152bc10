"""`stream: true` while the answer is made: what was released is sent, what contradicts it never is."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.plugins.open_door import MemoryLink, answered, client_of, door_settings, open_door
from topology.contract.events import Action, AuditedResponse, ConversationEvent, TextPart
from topology.contract.headers import last_header
from topology.contract.names import DraftSource, Header
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from workers.door.segments.live import BEHIND_BYTES_MAX, COMMENT, Live, TooFarBehind
from workers.door.segments.shown import ENTRY_BYTES, ShownTexts
from workers.settings import Settings

ASK: list[Any] = [{"role": "user", "content": "Name a colour."}]
TOKEN = StreamToken(generation=1, epoch=0, producer_id=1, run=1)


def record(audit_id: str, sequence: int = 0, text: str = "", *, last: bool = False) -> StreamRecord:
    kind = StreamKind.SEGMENT if sequence else StreamKind.OPENED
    return StreamRecord(
        audit_id=audit_id,
        event_id="e",
        conversation_id="c",
        tenant_id="t",
        token=TOKEN,
        kind=kind,
        sequence=sequence,
        text=text,
        source=DraftSource.GENERATOR if sequence else DraftSource.NONE,
        last=last,
    )


class Worker:
    """A worker in memory that releases two segments, and answers once the client has read the first one."""

    def __init__(self, **changes: Any) -> None:
        self.link = MemoryLink(self._asked)
        self._changes = changes
        self.segments: tuple[str, ...] = ("Blue ", "and ")
        self.went_on = threading.Event()

    def _asked(self, event: ConversationEvent, own_id: str) -> AuditedResponse | None:
        threading.Thread(target=self._answer, args=(event, own_id)).start()
        return None

    def _answer(self, event: ConversationEvent, own_id: str) -> None:
        opened = [record(own_id)]
        segments = [record(own_id, number, text) for number, text in enumerate(self.segments, 1)]
        self.link.stream(opened + segments[:1])
        if segments:
            self.went_on.wait(60)
        self.link.stream(segments[1:])
        digest = last_header(self.link.headers[-1], Header.REQUEST_DIGEST) or ""
        self.link.publish(answered(event, own_id, **{"parts": _text("Blue and green."), **self._changes}), digest)


def _text(text: str) -> tuple[TextPart]:
    return (TextPart(text=text),)


@contextmanager
def streaming(worker: Worker, directory: Path, **changes: Any) -> Generator[openai.OpenAI]:
    settings = Settings(door=door_settings(directory, streams=True, **changes))
    with open_door(settings, lambda *_: worker.link) as door:
        yield client_of(door)


def read(client: openai.OpenAI, worker: Worker, **changes: Any) -> tuple[list[str], Any]:
    """The pieces of text, and the last chunk with a choice."""
    pieces, last = [], None
    for chunk in client.chat.completions.create(model="sluicegate", messages=ASK, stream=True, **changes):
        if chunk.choices:
            last = chunk
            if chunk.choices[0].delta.content:
                pieces.append(chunk.choices[0].delta.content)
                worker.went_on.set()
    return pieces, last


def test_text_is_sent_as_it_is_released_and_the_end_says_how_it_ended(tmp_path: Path) -> None:
    worker = Worker()
    with streaming(worker, tmp_path) as client:
        pieces, last = read(client, worker)
    assert pieces[0] == "Blue ", "it was sent before the answer was whole: the worker waited for it"
    assert "".join(pieces) == "Blue and green."
    assert last.choices[0].finish_reason == "stop"
    assert (last.sluicegate["action"], last.sluicegate["replaced"]) == ("published", False)
    assert last.id == f"chatcmpl-{last.sluicegate['audit_id']}"
    assert worker.link.events[0].stream


def test_text_that_contradicts_what_was_sent_is_never_sent(tmp_path: Path) -> None:
    worker = Worker(parts=_text("Another answer."), action=Action.WITHHELD, reason_codes=("V05",))
    with streaming(worker, tmp_path) as client:
        pieces, last = read(client, worker)
    assert "".join(pieces) == "Blue and "
    assert last.choices[0].finish_reason == "content_filter"
    assert last.sluicegate["replaced"]
    assert last.sluicegate["reasons"][0]["code"] == "V05"


def test_an_answer_that_is_closed_by_the_policys_words_is_no_whole_one(tmp_path: Path) -> None:
    worker = Worker(parts=_text("Blue and no more."), action=Action.WITHHELD, reason_codes=("V05",))
    with streaming(worker, tmp_path) as client:
        pieces, last = read(client, worker)
    assert ("".join(pieces), last.choices[0].finish_reason) == ("Blue and no more.", "content_filter")


def test_without_text_an_end_is_as_without_a_stream(tmp_path: Path) -> None:
    worker = Worker(action=Action.WITHHELD, reason_codes=("generator_unreachable",))
    worker.segments = ()
    with streaming(worker, tmp_path) as client, pytest.raises(openai.InternalServerError) as caught:
        read(client, worker)
    assert caught.value.status_code == 504


def test_a_failure_after_text_is_a_last_chunk(tmp_path: Path) -> None:
    worker = Worker()
    worker.link.publish = lambda *_: None  # type: ignore[method-assign]
    with streaming(worker, tmp_path, deadline_s=0.5) as client:
        pieces, last = read(client, worker)
    assert "".join(pieces) == "Blue and "
    assert last.choices[0].finish_reason == "content_filter"
    assert last.sluicegate["error"]["code"] == "deadline"


def test_without_the_setting_an_event_asks_for_no_stream(tmp_path: Path) -> None:
    worker = Worker()
    worker.went_on.set()
    with open_door(Settings(door=door_settings(tmp_path)), lambda *_: worker.link) as door:
        pieces, _ = read(client_of(door), worker)
    assert pieces == ["Blue and green."]
    assert not worker.link.events[0].stream


def test_a_text_is_kept_until_its_response_for_those_who_ask_later() -> None:
    shown, heard = ShownTexts(10_000, 60_000), list[str]()
    shown.take([record("a"), record("a", 1, "One. ")], 0)
    assert shown.listen("a", heard.append, 0) == "One. "
    shown.take([record("a", 2, "Two.")], 0)
    assert heard == ["Two."]
    shown.end("a")
    assert len(shown) == 0


def test_what_was_dropped_for_want_of_room_is_not_shown_again() -> None:
    shown = ShownTexts(ENTRY_BYTES + 10, 60_000)
    shown.take([record("a"), record("a", 1, "x" * 8), record("b"), record("b", 1, "y" * 8)], 0)
    assert shown.listen("b", lambda _: None, 0) == "y" * 8
    shown.take([record("a"), record("a", 1, "x" * 8)], 0)
    assert shown.listen("a", lambda _: None, 0) == ""


def test_a_text_whose_response_never_comes_is_forgotten() -> None:
    shown = ShownTexts(10_000, 60_000)
    shown.take([record("a"), record("a", 1, "One. ")], 0)
    shown.take([record("b")], 60_001)
    assert len(shown) == 1


def test_streams_without_any_text_have_a_bound_too() -> None:
    shown = ShownTexts(10 * ENTRY_BYTES, 60_000)
    shown.take([record(f"a{number}") for number in range(1000)], 0)
    assert len(shown) == 10


def test_records_that_come_after_the_response_leave_nothing_behind() -> None:
    shown = ShownTexts(10_000, 60_000)
    shown.end("a")
    shown.take([record("a"), record("a", 1, "One. ")], 0)
    assert len(shown) == 0
    assert shown.listen("a", lambda _: None, 0) == ""


def test_a_text_that_grows_outlives_one_that_does_not() -> None:
    shown = ShownTexts(2 * ENTRY_BYTES + 8, 60_000)
    shown.take([record("a"), record("a", 1, "a" * 4), record("b"), record("b", 1, "b" * 4)], 0)
    shown.take([record("a", 2, "a" * 4)], 1)
    assert shown.listen("a", lambda _: None, 1) == "a" * 8


def test_a_comment_is_sent_while_there_is_no_text() -> None:
    async def scenario() -> None:
        sent: list[bytes] = []
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        async def write(data: bytes) -> None:
            sent.append(data)
            if len(sent) == 3:
                answer.set_result(None)

        await Live(comment_s=0.01).send(answer, str.encode, write)
        assert sent == [COMMENT] * 3

    asyncio.run(scenario())


def test_a_client_that_does_not_read_is_given_up() -> None:
    async def scenario() -> None:
        async def never(_data: bytes) -> None:
            await asyncio.sleep(60)

        async def at_once(_data: bytes) -> None:
            pass

        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        slow, much = Live(behind_s=0.01), Live()
        slow.add("text")
        much.add("x" * (BEHIND_BYTES_MAX + 1))
        with pytest.raises(TooFarBehind):
            await slow.send(answer, str.encode, never)
        with pytest.raises(TooFarBehind):
            await much.send(answer, str.encode, at_once)

    asyncio.run(scenario())
