"""The trained network as an ONNX graph with 8-bit weights, built node by node.

Inputs `ids` and `mask` (windows, tokens), outputs `text` (windows, TEXT_WIDTH) and `tokens` (windows, tokens,
TOKEN_WIDTH). ONNX Runtime's dynamic quantisation then makes the matrices and the embeddings 8-bit integers.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from serving.guards.encoder.heads import TEXT_WIDTH, TOKEN_WIDTH
from serving.training.encoder.network import Network

OPSET = 17
MASKED = -1e4


class _Graph:
    """A graph under construction; each method adds nodes and returns the name of their output."""

    def __init__(self, tensors: dict[str, NDArray[np.float32]]) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._tensors = tensors
        self._count = 0

    def constant(self, value: NDArray[Any], name: str = "") -> str:
        name = name or self._name("c")
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = self._name(operator)
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def linear(self, inputs: str, name: str) -> str:
        weight = self.constant(np.ascontiguousarray(self._tensors[f"{name}.weight"].T), f"{name}.weight")
        bias = self.constant(self._tensors[f"{name}.bias"], f"{name}.bias")
        return self.node("Add", self.node("MatMul", inputs, weight), bias)

    def norm(self, inputs: str, name: str, epsilon: float) -> str:
        weight = self.constant(self._tensors[f"{name}.weight"], f"{name}.weight")
        bias = self.constant(self._tensors[f"{name}.bias"], f"{name}.bias")
        return self.node("LayerNormalization", inputs, weight, bias, axis=-1, epsilon=epsilon)

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}_{self._count}"


def write(network: Network, heads: int, epsilon: float, path: Path) -> None:
    """Write the quantised graph of a network to `path`."""
    tensors = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    hidden = tensors["embedding.weight"].shape[1]
    layers = len(network.layers)
    graph = _Graph(tensors)
    states = _embedded(graph, tensors, epsilon)
    bias = _bias(graph)
    for number in range(layers):
        states = _layer(graph, f"layers.{number}", states, bias, heads, hidden, epsilon)
    pooled = _pooled(graph, states)
    text, tokens = graph.linear(pooled, "text_head"), graph.linear(states, "token_head")
    graph.nodes.append(helper.make_node("Identity", [text], ["text"]))
    graph.nodes.append(helper.make_node("Identity", [tokens], ["tokens"]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "encoder",
            [
                helper.make_tensor_value_info("ids", TensorProto.INT64, ["windows", "length"]),
                helper.make_tensor_value_info("mask", TensorProto.INT64, ["windows", "length"]),
            ],
            [
                helper.make_tensor_value_info("text", TensorProto.FLOAT, ["windows", TEXT_WIDTH]),
                helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["windows", "length", TOKEN_WIDTH]),
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.onnx"
        onnx.save(model, str(whole))
        quantize_dynamic(
            str(whole),
            str(path),
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"],
            extra_options={"MatMulConstBOnly": True},
        )


def _embedded(graph: _Graph, tensors: dict[str, NDArray[np.float32]], epsilon: float) -> str:
    words = graph.node("Gather", graph.constant(tensors["embedding.weight"], "embedding.weight"), "ids")
    length = graph.node("Gather", graph.node("Shape", "ids"), graph.constant(np.array(1, np.int64)))
    places = graph.node("Range", graph.constant(np.array(0, np.int64)), length, graph.constant(np.array(1, np.int64)))
    positions = graph.node("Gather", graph.constant(tensors["positions.weight"], "positions.weight"), places)
    return graph.norm(graph.node("Add", words, positions), "embedding_norm", epsilon)


def _bias(graph: _Graph) -> str:
    mask = graph.node("Cast", "mask", to=TensorProto.FLOAT)
    missing = graph.node("Sub", graph.constant(np.array(1, np.float32)), mask)
    scores = graph.node("Mul", missing, graph.constant(np.array(MASKED, np.float32)))
    return graph.node("Unsqueeze", scores, graph.constant(np.array([1, 2], np.int64)))


def _layer(graph: _Graph, name: str, states: str, bias: str, heads: int, hidden: int, epsilon: float) -> str:
    split = graph.constant(np.array([0, 0, heads, hidden // heads], np.int64))
    whole = graph.constant(np.array([0, 0, hidden], np.int64))

    def part(which: str, order: list[int]) -> str:
        divided = graph.node("Reshape", graph.linear(states, f"{name}.{which}"), split)
        return graph.node("Transpose", divided, perm=order)

    query, key, value = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
    scale = graph.constant(np.array(1 / np.sqrt(hidden // heads), np.float32))
    scores = graph.node("Add", graph.node("Mul", graph.node("MatMul", query, key), scale), bias)
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    joined = graph.node("Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), whole)
    attended = graph.norm(
        graph.node("Add", states, graph.linear(joined, f"{name}.attention_out")), f"{name}.attention_norm", epsilon
    )
    inner = _gelu(graph, graph.linear(attended, f"{name}.inner"))
    return graph.norm(graph.node("Add", attended, graph.linear(inner, f"{name}.outer")), f"{name}.norm", epsilon)


def _gelu(graph: _Graph, inputs: str) -> str:
    """Return x/2 (1 + erf(x/√2)), the exact form, which ONNX Runtime joins into one operator."""
    scaled = graph.node("Div", inputs, graph.constant(np.array(np.sqrt(2), np.float32)))
    risen = graph.node("Add", graph.node("Erf", scaled), graph.constant(np.array(1, np.float32)))
    return graph.node("Mul", graph.node("Mul", inputs, risen), graph.constant(np.array(0.5, np.float32)))


def _pooled(graph: _Graph, states: str) -> str:
    weight = graph.node(
        "Unsqueeze", graph.node("Cast", "mask", to=TensorProto.FLOAT), graph.constant(np.array([2], np.int64))
    )
    axis = graph.constant(np.array([1], np.int64))
    total = graph.node("ReduceSum", graph.node("Mul", states, weight), axis, keepdims=0)
    mean = graph.node("Div", total, graph.node("ReduceSum", weight, axis, keepdims=0))
    first = graph.node("Gather", states, graph.constant(np.array(0, np.int64)), axis=1)
    return graph.node("Concat", first, mean, axis=1)
