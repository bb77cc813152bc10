"""The encoder with its heads, for training: a BERT of post-normalised layers, and linear heads over its states.

The layers below `frozen` are not trained; their states are computed once. Heads read the first state and the mean of
all states of a text; one head reads every state, to say which tokens belong to an injected order.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from serving.guards.encoder.heads import TEXT_WIDTH, TOKEN_WIDTH
from serving.training.encoder.base_weights import Base

DROPOUT = 0.1


class Layer(nn.Module):
    """One layer: self-attention and a feed-forward part, each followed by addition and normalisation."""

    def __init__(self, hidden: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        self.attention_out = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, epsilon)
        self.inner, self.outer = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden, epsilon)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        """Return the states (batch, tokens, hidden) after this layer; `bias` is added to attention scores."""
        batch, tokens, hidden = states.shape
        query, key, value = (
            part(states).view(batch, tokens, self.heads, hidden // self.heads).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        # Written out: on CPUs the fused kernel takes twice as long backwards for texts of a few dozen tokens.
        scores = query @ key.transpose(-1, -2) * (hidden // self.heads) ** -0.5 + bias
        mixed = (functional.softmax(scores, -1).to(value.dtype) @ value).transpose(1, 2).reshape(batch, tokens, hidden)
        states = self.attention_norm(states + self.attention_out(mixed))
        return self.norm(states + self.outer(functional.gelu(self.inner(states))))


class Network(nn.Module):
    """The whole encoder; `forward` takes token ids, `upper` takes the states that the frozen layers gave."""

    def __init__(self, base: Base, kept: Tensor, frozen: int) -> None:
        super().__init__()
        self.frozen = frozen
        self.embedding = nn.Embedding(len(kept), base.hidden)
        self.positions = nn.Embedding(base.tensors["positions"].shape[0], base.hidden)
        self.embedding_norm = nn.LayerNorm(base.hidden, base.epsilon)
        self.layers = nn.ModuleList(
            Layer(base.hidden, base.heads, base.inner, base.epsilon) for _ in range(base.layers)
        )
        self.text_head = nn.Linear(2 * base.hidden, TEXT_WIDTH)
        self.token_head = nn.Linear(base.hidden, TOKEN_WIDTH)
        self.drop = nn.Dropout(DROPOUT)
        self._load(base.tensors, kept)

    def _load(self, tensors: Mapping[str, object], kept: Tensor) -> None:
        given = {name: torch.from_numpy(value) for name, value in tensors.items()}
        given["embedding.weight"] = given.pop("embedding")[kept]
        given["positions.weight"] = given.pop("positions")
        heads = {name: value for name, value in self.state_dict().items() if "_head." in name}
        self.load_state_dict(given | heads)

    def lower(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the states after the frozen layers."""
        places = torch.arange(ids.shape[1])
        states = self.embedding_norm(self.embedding(ids) + self.positions(places))
        return _through(self.layers[: self.frozen], states, mask)

    def upper(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the text (batch, TEXT_WIDTH) and of its tokens (batch, tokens, TOKEN_WIDTH)."""
        states = _through(self.layers[self.frozen :], states, mask)
        weight = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        pooled = self.drop(torch.cat([states[:, 0], mean], 1))
        return self.text_head(pooled), self.token_head(states)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `upper` does, from token ids (batch, tokens) and a mask of 1 for tokens, 0 for padding."""
        return self.upper(self.lower(ids, mask), mask)


def _through(layers: nn.ModuleList, states: Tensor, mask: Tensor) -> Tensor:
    bias = (1.0 - mask.to(states.dtype))[:, None, None, :] * -1e4
    for layer in layers:
        states = layer(states, bias)
    return states
