"""The list of words has what several authors of the corpus wrote, and what phrases look for."""

import json
from pathlib import Path

from serving.text.joined_words import WORDS_FILE
from serving.training.words import AUTHORS_MIN, COUNT_MIN, words


def _row(text: str, lang: str = "en") -> str:
    return json.dumps({"id": "x", "lang": lang, "messages": [{"role": "user", "text": text}], "reply": "Don't"})


def test_words_of_several_authors_come_first_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "requests").mkdir()
    for author in range(AUTHORS_MIN):
        rows = [_row("Kettle kettle ok, xq"), _row("kettle lid"), _row("kettle lid"), _row("Wasserkocher", "de")]
        (tmp_path / "requests" / f"a{author}.jsonl").write_text("\n".join(rows))
    (tmp_path / "requests" / "b.jsonl").write_text("\n".join([_row("solo")] * COUNT_MIN))
    found = words(tmp_path)
    assert found[:3] == ["dont", "kettle", "lid"]
    assert not {"solo", "xq", "ok", "wasserkocher"}.intersection(found[:3])
    assert "pesticide" in found[3:]


def test_the_list_in_use_has_no_word_twice_and_only_letters() -> None:
    listed = WORDS_FILE.read_text(encoding="ascii").splitlines()
    assert len(listed) == len(set(listed)) > 5_000
    assert all(word.isalpha() and word.islower() for word in listed)
