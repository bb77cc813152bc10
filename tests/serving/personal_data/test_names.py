"""Names are hidden where settings name a pipeline, and stay where they do not."""

from pathlib import Path

import pytest
import spacy

from serving.personal_data.names import names_recognizer
from serving.personal_data.redaction import LoggingStage, Redactor
from topology.contract.errors import SettingsError

TEXT = "Ana Berg lives in Ulm and works for Siemens; call her on +44 20 7946 0958."
HIDDEN = "<PERSON> lives in <LOCATION> and works for Siemens; call her on <PHONE_NUMBER>."


def pipeline(folder: Path, language: str, **names: str) -> str:
    """Save a pipeline that knows some names by heart, and return its folder."""
    made = spacy.blank(language)
    ruler = made.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": label, "pattern": name} for label, name in names.items()])
    made.meta["name"], made.meta["version"] = f"{language}_names", "1.2"
    made.to_disk(folder / language)
    return str(folder / language)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> str:
    return pipeline(tmp_path_factory.mktemp("names"), "en", PERSON="Ana Berg", GPE="Ulm", ORG="Siemens")


def redactor(*models: str) -> Redactor:
    return Redactor(lambda _text: "", region="US", names=names_recognizer(models))


def test_names_of_people_and_places_are_hidden_and_organisations_stay(english: str) -> None:
    assert redactor(english).redact(TEXT).redacted == HIDDEN
    assert "Ana Berg lives in Ulm" in redactor().redact(TEXT).redacted


def test_a_name_keeps_its_place_behind_hidden_letters(english: str) -> None:
    text = "\u200b\U0001f600 A\u200bna Berg, Ana\u00a0Berg"
    spans = redactor(english).spans(text)
    assert [text[span.start : span.end] for span in spans] == ["A\u200bna Berg", "Ana\u00a0Berg"]


def test_each_text_is_read_by_the_pipeline_of_its_language(english: str, tmp_path: Path) -> None:
    german = pipeline(tmp_path, "de", person="Uwe Ott")
    both = names_recognizer((english, german))
    assert both is not None
    assert [one.entity_type for one in both.analyze("Das ist Uwe Ott und nicht Ana Berg.", 0.0)] == ["PERSON"]
    assert [one.start for one in both.analyze("This is Ana Berg and not Uwe Ott.", 0.0)] == [8]
    assert [one.start for one in both.analyze("Ana Berg!", 0.0)] == [0]


def test_the_stage_s_version_names_the_pipelines(english: str) -> None:
    assert LoggingStage(redactor(english)).version.endswith("/en_names-1.2")
    assert LoggingStage(redactor()).version.count("/") == 1


def test_a_pipeline_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError) as raised:
        names_recognizer(("no_such_pipeline",))
    assert raised.value.key == "redaction.names_models"


def test_no_pipeline_is_no_recogniser() -> None:
    assert names_recognizer(()) is None
