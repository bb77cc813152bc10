"""Which language a text is in."""

import pytest

from serving.text.language import language_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Could you tell me when the last train leaves?", "en"),
        ("Kannst du mir sagen, wann der letzte Zug fährt?", "de"),
        ("Pouvez-vous me dire quand part le dernier train ?", "fr"),
        ("¿Me puedes decir cuándo sale el último tren?", "es"),
        ("Puoi dirmi quando parte l'ultimo treno della sera?", "it"),
        ("Você pode me dizer quando sai o último trem?", "pt"),
        ("Kun je me zeggen wanneer de laatste trein gaat?", "nl"),
        ("Czy możesz mi powiedzieć, kiedy odjeżdża ostatni pociąg?", "pl"),
        ("Son trenin ne zaman gittiğini bana söyler misin?", "tr"),
        ("Kan du säga mig när det sista tåget går?", "sv"),
        ("आख़िरी ट्रेन कब जाती है, क्या आप बता सकते हैं?", "hi"),
        ("Aakhri train kab jaati hai, kya aap bata sakte hain?", "hi"),
        ("Скажите, когда уходит последний поезд?", "ru"),
        ("متى يغادر آخر قطار؟", "ar"),
        ("最后一班火车几点开", "zh"),
        ("最終の電車は何時に出ますか。", "ja"),
        ("막차는 몇 시에 출발하나요?", "ko"),
    ],
)
def test_a_question_about_a_train_is_told_in_each_language(text: str, code: str) -> None:
    assert language_of(text) == code


def test_letters_that_one_language_has_tell_it_without_any_common_word() -> None:
    assert language_of("Świeża żółć łąka") == "pl"
    assert language_of("Güneşli ağaç bahçesi") == "tr"


def test_a_text_without_anything_telling_is_of_no_language() -> None:
    assert language_of("Xyzzy 42") == "und"
