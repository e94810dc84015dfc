"""The two kinds of layer that a stage is made of, with one way to call both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LayerState = tuple[Tensor, ...]


class Dense(nn.Module):
    """A fully connected layer, without its activation.

    Arguments
    ---------
    inputs, outputs : int
        Features in and out.
    activation : bool
        Whether ReLU follows when the output goes on to the next stage.
    """

    def __init__(self, inputs: int, outputs: int, activation: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.activation = activation
        self.state_sizes: tuple[int, ...] = ()
        self.macs = inputs * outputs

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """(batch, time, inputs) -> linear output (batch, time, outputs); there is no state."""
        return self.linear(x), state

    def activate(self, raw: Tensor) -> Tensor:
        """What the next stage reads."""
        return torch.relu(raw) if self.activation else raw

    @staticmethod
    def to_mask(raw: Tensor) -> Tensor:
        """Gains in [0, 1] from the linear output."""
        return torch.sigmoid(raw)


class Recurrent(nn.Module):
    """A GRU layer. Its output is in (-1, 1) and goes on as it is.

    Arguments
    ---------
    inputs, outputs : int
        Features in and out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, outputs, batch_first=True)
        self.state_sizes: tuple[int, ...] = (outputs,)
        self.macs = 3 * outputs * (inputs + outputs)

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """(batch, time, inputs), state (batch, outputs) -> (batch, time, outputs), new state."""
        output, last = self.gru(x, state[0].unsqueeze(0))
        return output, (last.squeeze(0),)

    @staticmethod
    def activate(raw: Tensor) -> Tensor:
        """What the next stage reads."""
        return raw

    @staticmethod
    def to_mask(raw: Tensor) -> Tensor:
        """Gains in [0, 1] from the hidden state."""
        return 0.5 * (1.0 + raw)


Layer = Dense | Recurrent


def make_layer(kind: str, inputs: int, outputs: int, activation: bool = True) -> Layer:
    """A layer of the kind `fc` or `gru`."""
    return Recurrent(inputs, outputs) if kind == "gru" else Dense(inputs, outputs, activation)
