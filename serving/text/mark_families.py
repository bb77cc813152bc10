"""The marks of known families of models, found by a model's name: what is used where no tokenizer can be asked.

A number in a mark stands for any number. The marks are those of the tokenizers and chat templates that the families
publish. Marks with a bar inside a bracket, such as `<|user|>`, are found by their shape and need no row; some stand
here so that a family says what it writes.
"""

import re

from msgspec import Struct

_WIDE_BAR = "\uff5c"


class Family(Struct, frozen=True, kw_only=True):
    """Models that share a vocabulary. `models` is a pattern of their names in lower case, behind anything but a letter.

    `marks` are broken up for every model, because no ordinary text has them; `words`, which ordinary text has too, for
    this family alone.
    """

    name: str
    models: str
    marks: tuple[str, ...]
    words: tuple[str, ...] = ()

    def is_of(self, model: str) -> bool:
        """Return whether the name of a model tells this family."""
        return re.search(f"(?<![a-z])(?:{self.models})", model.lower()) is not None


def _each(marks: str) -> tuple[str, ...]:
    return tuple(marks.split())


def _pairs(names: str, around: str = "<>") -> tuple[str, ...]:
    """Return the opening and the closing mark of each name."""
    return tuple(f"{around[0]}{slash}{name}{around[1]}" for name in names.split() for slash in ("", "/"))


def _wide(marks: str) -> tuple[str, ...]:
    return _each(marks.replace("|", _WIDE_BAR))


_SENTENCE = _each("<s> </s> <bos> <eos> <pad> <unk>")
_REASONING = (*_pairs("think"), *_pairs("THINK", "[]"), *_pairs("think", "◁▷"))
_TOOLS = _pairs("tool_call tool_calls tool_response tools")
_CODE = _each("""<fim_prefix> <fim_middle> <fim_suffix> <fim_pad> <file_sep> <gh_stars> <empty_output> <issue_start>
    <issue_comment> <issue_closed> <commit_before> <commit_msg> <commit_after> <jupyter_start> <jupyter_text>
    <jupyter_code> <jupyter_output> <jupyter_script>""")
_CODE_WORDS = _each("<filename> <reponame> <repo_name>")
_SPEAKERS = _each("User: Assistant:")
_INSTRUCTION = ("### Instruction:", "### Input:", "### Response:")

FAMILIES = (
    Family(
        name="ChatML",
        models=r"qwen|qwq|qvq|mimo|chatml|hermes|dolphin|smaug|orca|yi(?![a-z])",
        marks=(*_each("<|im_start|> <|im_end|> <|endoftext|> <|vision_start|> <|object_ref_start|>"), *_TOOLS),
    ),
    Family(
        name="Llama",
        models=r"(?:code|tiny|open|meta-?)?llama",
        marks=_each("""[INST] [/INST] <<SYS>> <</SYS>> <|begin_of_text|> <|start_header_id|> <|end_header_id|>
            <|eot_id|> <|header_start|> <|header_end|> <|eot|> <|python_tag|> <|reserved_special_token_0|>"""),
        words=_each("<PRE> <SUF> <MID> <EOT>"),
    ),
    Family(
        name="Gemma",
        models=r"[a-z0-9]*gemma",
        marks=_each("""<start_of_turn> <end_of_turn> <start_of_image> <end_of_image> <image_soft_token> <unused0>
            <|turn> <turn|> <|channel> <channel|> <start_function_call> <end_function_call> <start_function_declaration>
            <end_function_declaration> <start_function_response> <end_function_response>"""),
        words=_each("<mask> <escape> [multimodal] <loc0> <seg0>"),
    ),
    Family(
        name="Phi",
        models=r"phi(?![a-z])",
        marks=_each("<|system|> <|user|> <|assistant|> <|end|> <|im_sep|> <|dummy_0|>"),
    ),
    Family(
        name="Mistral",
        models=r"(?:mi|mini|code|dev|magi|math|lean)stral|(?:mi|pi|vo)xtral",
        marks=(
            *_pairs("SYSTEM_PROMPT AVAILABLE_TOOLS TOOL_RESULTS MODEL_SETTINGS INST THINK", "[]"),
            *_each("""[TOOL_CALLS] [TOOL_CONTENT] [CALL_ID] [IMG] [IMG_BREAK] [IMG_END] [BEGIN_AUDIO] [STREAMING_PAD]
                [STREAMING_WORD] [NEXT_AUDIO_TEXT] [REPEAT_AUDIO_TEXT] <SPECIAL_0>"""),
        ),
        words=_each("[ARGS] [AUDIO] [TRANSCRIBE] [PREFIX] [MIDDLE] [SUFFIX]"),
    ),
    Family(
        name="DeepSeek",
        models=r"deepseek",
        marks=_wide("""<|begin▁of▁sentence|> <|end▁of▁sentence|> <|User|> <|Assistant|> <|System|> <|tool▁calls▁begin|>
            <|tool▁call▁begin|> <|tool▁sep|> <|fim▁hole|> |DSML|"""),
        words=(*_SPEAKERS, *_INSTRUCTION),
    ),
    Family(
        name="Harmony",
        models=r"(?:chat)?gpt|o[1345](?![a-z0-9])",
        marks=_each("<|start|> <|end|> <|message|> <|channel|> <|constrain|> <|return|> <|call|>"),
    ),
    Family(
        name="Command R",
        models=r"command|c4ai|cohere|aya(?![a-z])",
        marks=_each("""<BOS_TOKEN> <EOS_TOKEN> <EOP_TOKEN> <MASK_TOKEN> <|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|>
            <|SYSTEM_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|> <|START_THINKING|>"""),
        words=_each("<PAD> <UNK> <CLS> <SEP>"),
    ),
    Family(
        name="Granite",
        models=r"granite|starcoder",
        marks=(*_each("<|start_of_role|> <|end_of_role|> <|end_of_text|> <|tool_call|>"), *_CODE),
        words=(*_CODE_WORDS, *_pairs("response"), *_each("System: Question: Answer:")),
    ),
    Family(
        name="GLM",
        models=r"(?:chat|code)?glm|cogvlm|zai(?![a-z])",
        marks=(
            *_each("[gMASK] [sMASK] <sop> <eop> <|system|> <|user|> <|assistant|> <|observation|>"),
            *_pairs("arg_key arg_value"),
            *_TOOLS,
        ),
        words=_each("[MASK] /nothink"),
    ),
    Family(
        name="Kimi",
        models=r"kimi|moonlight|moonshot",
        marks=_each("""<|im_system|> <|im_user|> <|im_assistant|> <|im_middle|> <|tool_calls_section_begin|>
            [start_header_id] [end_header_id] [extra_id_0]"""),
        words=_each("[BOS] [EOS] [EOT] [UNK] [PAD]"),
    ),
    Family(
        name="SmolLM",
        models=r"smol|idefics",
        marks=(
            *_each("<|im_start|> <|im_end|> <end_of_utterance> <fake_token_around_image> <global-img> <row_0_col_0>"),
            *_CODE,
        ),
        words=("<image>", *_SPEAKERS, *_CODE_WORDS),
    ),
    Family(
        name="Seed",
        models=r"seed(?![a-z])|doubao",
        marks=(
            *_each("<seed:bos> <seed:eos> <seed:pad>"),
            *_pairs("seed:think seed:tool_call seed:cot_budget_reflect"),
        ),
    ),
    Family(
        name="MiniMax",
        models=r"minimax",
        marks=(
            *_each("]~b] ]~!b[ [e~[ <begin_of_sentence> <beginning_of_sentence> <end_of_sentence>"),
            *_pairs("minimax:tool_call mm:think"),
        ),
    ),
    Family(
        name="InternLM",
        models=r"intern(?:lm|vl|s)",
        marks=_each("<|im_start|> <|im_end|> <|action_start|> <|action_end|> [UNUSED_TOKEN_0]"),
        words=_pairs("img quad ref box"),
    ),
    Family(
        name="Baichuan",
        models=r"baichuan",
        marks=("<reserved_0>",),
        words=_each("<B_SYS> <C_Q> <C_A>"),
    ),
    Family(
        name="Nemotron",
        models=r"nemotron|minitron",
        marks=_each("<extra_id_0> <SPECIAL_0> <|start_header_id|> <|eot_id|> <|im_start|>"),
        words=_pairs("TOOLCALL AVAILABLE_TOOLS"),
    ),
    Family(
        name="Falcon",
        models=r"falcon",
        marks=_each(""">>TITLE<< >>ABSTRACT<< >>INTRODUCTION<< >>SUMMARY<< >>COMMENT<< >>ANSWER<< >>QUESTION<<
            >>DOMAIN<< >>PREFIX<< >>SUFFIX<< >>MIDDLE<< <|user|> <|assistant|>"""),
        words=(*_SPEAKERS, *_each("System: Falcon:")),
    ),
    Family(
        name="EXAONE",
        models=r"exaone",
        marks=_each("[|system|] [|user|] [|assistant|] [|tool|] [|endofturn|]"),
        words=("[BOS]", *_pairs("thought")),
    ),
    Family(
        name="ERNIE",
        models=r"ernie",
        marks=_each("<|begin_of_sentence|> <|end_of_sentence|> <mask:0>"),
        words=(*_SPEAKERS, *_pairs("response")),
    ),
    Family(
        name="Hunyuan",
        models=r"hunyuan|hy(?![a-z])",
        marks=(*_wide("<|hy_User|> <|hy_Assistant|>"), *_each("<|startoftext|> <|extra_0|>")),
        words=_pairs("answer"),
    ),
    Family(
        name="LongCat",
        models=r"longcat",
        marks=(*_pairs("longcat_s longcat_think longcat_tool_call longcat_tools"), "<longcat_user>"),
        words=_each("SYSTEM: USER: ASSISTANT:"),
    ),
    Family(
        name="Vicuna",
        models=r"vicuna|llava|wizard|alpaca|airoboros",
        marks=_each("<s> </s>"),
        words=(*_each("SYSTEM: USER: ASSISTANT: <image>"), "### Human:", "### Assistant:", *_INSTRUCTION),
    ),
    Family(
        name="bars in brackets",
        models=r"olmo|tulu|zephyr|stablelm|danube|jamba|ai21|lfm|apertus|plamo|dots(?![a-z])|step(?![a-z])",
        marks=_each("<|system|> <|user|> <|assistant|> <|startoftext|> <|bom|> <|endoftext|>"),
    ),
    Family(name="the tiny checkpoint", models=r"sluicegate-tiny", marks=_each("<turn> </turn> <pad>")),
)

EVERY_MARK = frozenset((*_SENTENCE, *_REASONING, *(mark for family in FAMILIES for mark in family.marks)))
"""The marks that are broken up for every model: of all families, of sentences, and of reasoning."""

KNOWN_MARKS = EVERY_MARK.union(*(family.words for family in FAMILIES))


def families_of(model: str) -> tuple[Family, ...]:
    """Return the families that the name of a model tells: several for a model of one family with another's template."""
    return tuple(family for family in FAMILIES if family.is_of(model))
