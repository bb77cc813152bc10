"""The tiny checkpoint: complete or absent, the same bytes, and what vLLM's loaders expect."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from serving.engine.tiny_checkpoint import (
    HIDDEN,
    LAYERS,
    POSITIONS_MAX,
    VOCABULARY,
    build_tiny_checkpoint,
    is_complete,
    main,
)
from tests.checkout import ROOT


def hashes(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


def test_two_builds_are_the_same_to_the_byte_and_small(tmp_path: Path) -> None:
    first = build_tiny_checkpoint(tmp_path / "a")
    second = build_tiny_checkpoint(tmp_path / "b" / "c")
    assert hashes(first) == hashes(second)
    assert sum(path.stat().st_size for path in first.iterdir()) < 1_000_000


def test_a_complete_one_is_left_alone(tmp_path: Path) -> None:
    directory = build_tiny_checkpoint(tmp_path / "tiny")
    before = (directory / "model.safetensors").stat().st_mtime_ns
    build_tiny_checkpoint(directory)
    assert (directory / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("leftover", ["", "{}", "not json"])
def test_anything_else_in_its_place_is_replaced(tmp_path: Path, leftover: str) -> None:
    directory = tmp_path / "tiny"
    directory.mkdir()
    (directory / "complete.json").write_text(leftover)
    (directory / "stray.bin").write_bytes(b"x")
    assert not is_complete(directory)
    build_tiny_checkpoint(directory)
    assert is_complete(directory)
    assert not (directory / "stray.bin").exists()


def test_nothing_is_left_beside_it(tmp_path: Path) -> None:
    build_tiny_checkpoint(tmp_path / "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_tokenizer_gives_back_any_text_and_knows_the_turn_marks(tmp_path: Path) -> None:
    directory = build_tiny_checkpoint(tmp_path / "tiny")
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    text = "Grüße, 世界 🌊\n\ttabs  and\x00odd bytes"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.get_vocab_size() == VOCABULARY
    assert [tokenizer.token_to_id(mark) for mark in ("<pad>", "<turn>", "</turn>")] == [0, 1, 2]


def test_weights_and_configuration_agree(tmp_path: Path) -> None:
    directory = build_tiny_checkpoint(tmp_path / "tiny")
    config = json.loads((directory / "config.json").read_text())
    tensors = load_file(directory / "model.safetensors")
    assert config["max_position_embeddings"] == POSITIONS_MAX >= 4096
    assert tensors["model.embed_tokens.weight"].shape == (VOCABULARY, HIDDEN)
    assert len({name.split(".")[2] for name in tensors if name.startswith("model.layers.")}) == LAYERS


def test_the_command_builds_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "tiny")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "tiny")
    assert main([]) == 2


def test_building_loads_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from serving.engine.tiny_checkpoint import build_tiny_checkpoint as build;"
        "build(Path(sys.argv[1])); print(sorted({'torch', 'transformers', 'vllm'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tiny")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert ran.stdout.strip() == "[]"
