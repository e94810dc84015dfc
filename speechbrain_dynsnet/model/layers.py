"""The two kinds of layer that a stage is made of, with one way to call both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from speechbrain_dynsnet.model.recurrence import GATES, run_recurrence

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
        (output,), new_state = run_side_by_side([self], [x], state)
        return output, new_state

    def multiply_input(self, x: Tensor) -> Tensor:
        """The part that does not wait for the frame before: (batch, time, inputs) -> (time, batch, 3, outputs)."""
        reset, update, new = self.parameter("bias_hh").chunk(GATES)
        bias = self.parameter("bias_ih") + torch.cat([reset, update, torch.zeros_like(new)])
        # Contiguous: torch copies frozen weights for every frame otherwise, to multiply it by itself.
        product = nn.functional.linear(x.transpose(0, 1).contiguous(), self.parameter("weight_ih"), bias)
        return product.to(bias.dtype).reshape(*product.shape[:2], GATES, -1)

    def parameter(self, kind: str) -> Tensor:
        """`weight_ih`, `weight_hh`, `bias_ih` or `bias_hh` of the GRU."""
        return cast(Tensor, getattr(self.gru, f"{kind}_l0"))

    @staticmethod
    def activate(raw: Tensor) -> Tensor:
        """What the next stage reads."""
        return raw

    @staticmethod
    def to_mask(raw: Tensor) -> Tensor:
        """Gains in [0, 1] from the hidden state."""
        return 0.5 * (1.0 + raw)


def run_side_by_side(
    layers: Sequence[Recurrent], inputs: Sequence[Tensor], state: LayerState
) -> tuple[list[Tensor], LayerState]:
    """Run GRU layers that do not wait for each other.

    Arguments
    ---------
    layers : sequence of Recurrent
        One or more.
    inputs : sequence of Tensor
        One a layer, (batch, time, inputs).
    state : tuple of Tensor
        One a layer, (batch, outputs).

    Returns
    -------
    outputs : list of Tensor
        One a layer, (batch, time, outputs).
    state : tuple of Tensor
        The new ones.
    """
    if _own_recurrence_is_quicker(inputs[0].device.type):
        products = [layer.multiply_input(x) for layer, x in zip(layers, inputs, strict=True)]
        new_biases = [layer.parameter("bias_hh").chunk(GATES)[-1] for layer in layers]
        weights = [layer.parameter("weight_hh") for layer in layers]
        states = run_recurrence(torch.cat(products, dim=-1), state, weights, new_biases)
        sizes = [layer.gru.hidden_size for layer in layers]
        return list(states.transpose(0, 1).split(sizes, dim=-1)), states[-1].split(sizes, dim=-1)
    results = [layer.gru(x, one.unsqueeze(0)) for layer, x, one in zip(layers, inputs, state, strict=True)]
    return [output for output, _ in results], tuple(last.squeeze(0) for _, last in results)


def _own_recurrence_is_quicker(device: str) -> bool:
    """On a CPU, wherever gradients are wanted, and in half precision, from which torch's own converts in each frame."""
    if device != "cpu" or torch.compiler.is_compiling():
        return False
    return torch.is_grad_enabled() or torch.is_autocast_enabled(device)


Layer = Dense | Recurrent


def make_layer(kind: str, inputs: int, outputs: int, activation: bool = True) -> Layer:
    """A layer of the kind `fc` or `gru`."""
    return Recurrent(inputs, outputs) if kind == "gru" else Dense(inputs, outputs, activation)
