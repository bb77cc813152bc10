"""The scripted model as any client of the chat API sees it."""

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from typing import Any

import pytest

from serving.generation.prompts import CONTINUE
from workers.commands.demo.rounds import CHOICES, SMALL_COUNT_MAX, Model, rounds_of
from workers.commands.demo.samples import sample_events
from workers.commands.demo.scripted_model import MODEL_NAME, MODELS, ScriptedModel, running
from workers.commands.demo.scripts import (
    ABOVE,
    WITHIN,
    Script,
    ScriptKind,
    sample_scripts,
)
from workers.commands.demo.story.examples import example_scripts

KNOWN = Script(question="Is it open?", within="It is.", kind=ScriptKind.ABOVE_THEN_WITHIN)
SLOW = Script(question="Is it far?", within="Not very far away.", word_ms=50)
LONG = Script(question="Is it long?", within="It goes on and on, and never comes to its end at all.", word_ms=50)


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with running(ScriptedModel([KNOWN, SLOW])) as served:
        yield served


def said(url: str, model: str, question: str, system: str = "") -> str:
    """The answer, asked for in one piece."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    (choice,) = json.loads(post(url, {"model": model, "messages": messages}))["choices"]
    return choice["message"]["content"]


def post(url: str, body: dict[str, Any]) -> bytes:
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read()


def test_a_known_question_gets_its_own_script_and_any_other_the_general_answer(url: str) -> None:
    assert said(url, MODEL_NAME, "Is it open?") == ABOVE
    assert said(url, MODEL_NAME, "Is it open?", "Rules.\n[mend]\nSay less.") == "It is."
    assert said(url, MODEL_NAME, "Anything else?") == WITHIN


def test_the_users_own_words_are_no_feedback(url: str) -> None:
    assert said(url, MODEL_NAME, "Is it open?\n\n[mend]\nSay less.") == ABOVE


def test_a_request_to_go_on_with_an_answer_is_about_the_question_before_it(url: str) -> None:
    turns = [("system", "[mend]\nSay less."), ("user", "Is it open?"), ("assistant", "Well."), ("user", CONTINUE)]
    messages = [{"role": role, "content": content} for role, content in turns]
    (choice,) = json.loads(post(url, {"model": MODEL_NAME, "messages": messages}))["choices"]
    assert choice["message"]["content"] == "It is."


def test_a_slow_script_takes_its_time_for_each_further_word(url: str) -> None:
    started_s = time.monotonic()
    body = {"model": MODEL_NAME, "messages": [{"role": "user", "content": SLOW.question}], "stream": True}
    assert post(url, body).count(b'"content"') == 4
    assert time.monotonic() - started_s >= 3 * SLOW.word_ms / 1000


def test_a_client_that_closes_its_request_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with running(ScriptedModel([LONG])) as url:
        body = {"model": MODEL_NAME, "messages": [{"role": "user", "content": LONG.question}], "stream": True}
        asked = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
        with urllib.request.urlopen(asked, timeout=10) as response:
            assert b'"content"' in response.readline()
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_a_model_named_after_a_script_plays_it_for_every_question(url: str) -> None:
    assert said(url, "plain", "Is it open?") == "It is."
    assert said(url, "stubborn", "Anything else?", "[mend]\nSay less.") == ABOVE
    assert said(url, "empty", "Is it open?") == ""


def test_a_streamed_answer_is_the_same_text_in_chunks(url: str) -> None:
    body = {"model": MODEL_NAME, "messages": [{"role": "user", "content": "Who?"}], "stream": True}
    *events, end = post(url, body).decode().strip().split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    pieces = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(pieces) == WITHIN
    assert len(pieces) > 5
    assert chunks[-1]["usage"]["completion_tokens"] == len(WITHIN.split())
    assert end == "data: [DONE]"


def test_models_are_listed_and_others_are_not_found(url: str) -> None:
    with urllib.request.urlopen(f"{url}/models", timeout=10) as response:
        assert [model["id"] for model in json.load(response)["data"]] == list(MODELS)
    with pytest.raises(urllib.error.HTTPError) as caught:
        said(url, "no-such-model", "Who?")
    assert caught.value.code == 404
    caught.value.close()


def test_what_is_no_chat_request_is_refused(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(url, {"model": MODEL_NAME})
    assert caught.value.code == 400
    assert "messages" in caught.value.read().decode()


def test_every_scripted_question_of_the_demonstration_has_one_answer() -> None:
    answers = {(script.question, script.within) for script in (*example_scripts(), *sample_scripts())}
    assert len(answers) == len({question for question, _ in answers})
    assert all(answer for _, answer in answers)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("count", [1, 2, 9, 300])
def test_every_sample_of_the_demonstration_goes_to_exactly_one_model(choice: str, count: int) -> None:
    rounds = rounds_of(choice, count, seed=3)
    assert [event for each in rounds for event in each.events] == sample_events(count, 3)
    assert [each.model for each in rounds] == list(CHOICES[choice])
    assert [bool(each.examples) for each in rounds] == [each.model is Model.SCRIPTED for each in rounds]
    assert len(rounds) == 1 or len(rounds[1].events) <= SMALL_COUNT_MAX
