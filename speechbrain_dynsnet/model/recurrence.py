"""The recurrent half of GRU layers for training on the CPU: quicker than torch's own there, with the same gradients.

torch's GRU on a CPU adds up the weight gradient frame by frame, and its bfloat16 converts in every frame. Here
everything that is not recurrent leaves the loop over time: backward multiplies with the recurrent weights once a
frame, and their gradient is one product over all frames. Layers that run side by side share the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GATES = 3  # torch stacks reset, update, new


def run_recurrence(
    from_input: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], new_biases: Sequence[Tensor]
) -> Tensor:
    """Run GRU layers side by side over time, from their products with the input.

    With r, z = sigmoid(i_r + W_r h), sigmoid(i_z + W_z h) and n = tanh(i_n + r (W_n h + b_n)), the next state is
    n + z (h - n), as in `torch.nn.GRU`.

    Arguments
    ---------
    from_input : Tensor
        (time, batch, 3, units): i_r, i_z and i_n of all layers, with all biases but `new_biases` in them.
    states : sequence of Tensor
        One a layer, (batch, units of the layer).
    weights : sequence of Tensor
        One a layer, (3 x units of the layer, units of the layer), as torch's `weight_hh`.
    new_biases : sequence of Tensor
        One a layer, (units of the layer): b_n.

    Returns
    -------
    Tensor
        (time, batch, units): the states after each frame. Under autocast the products are in its type, all else is in
        that of `from_input`.
    """
    device = from_input.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else from_input.dtype
    with torch.autocast(device, enabled=False):
        state, bias = torch.cat(tuple(states), dim=1), torch.cat(tuple(new_biases))
        outputs: Tensor = _Recurrence.apply(dtype, from_input, state, bias, *weights)
    return outputs


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dtype: torch.dtype, from_input: Tensor, state: Tensor, bias: Tensor, *weights: Tensor
    ) -> Tensor:
        frames, batch, _, units = from_input.shape
        states = from_input.new_empty(frames + 1, batch, units)
        states[0] = state
        opening = from_input.new_empty(frames, batch, 2, units)  # of the reset and the update gate
        recurrent_new = from_input.new_empty(frames, batch, units)
        new = from_input.new_empty(frames, batch, units)
        transposed = [weight.t().to(dtype) for weight in weights]
        products = from_input.new_empty(batch, GATES, units)
        places = _places(weights)
        for frame in range(frames):
            for weight, place in zip(transposed, places, strict=True):
                product = torch.mm(states[frame, :, place].to(dtype), weight)
                products[:, :, place] = product.view(batch, GATES, -1)
            torch.add(from_input[frame, :, :2], products[:, :2], out=opening[frame]).sigmoid_()
            torch.add(products[:, 2], bias, out=recurrent_new[frame])
            torch.addcmul(from_input[frame, :, 2], opening[frame, :, 0], recurrent_new[frame], out=new[frame]).tanh_()
            torch.lerp(new[frame], states[frame], opening[frame, :, 1], out=states[frame + 1])
        ctx.save_for_backward(states, opening, recurrent_new, new, *weights)
        ctx.dtype = dtype
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, opening, recurrent_new, new, *weights = ctx.saved_tensors
        frames, batch, units = new.shape
        reset, update = opening[:, :, 0], opening[:, :, 1]
        # The slope of what each gate was given, by that of the state: known for all frames before the loop.
        slopes = torch.empty(frames, batch, GATES, units, dtype=new.dtype)
        slope_of_new = (1 - update) * (1 - new.square())
        torch.mul(slope_of_new * recurrent_new, reset * (1 - reset), out=slopes[:, :, 0])
        torch.mul(states[:-1] - new, update * (1 - update), out=slopes[:, :, 1])
        torch.mul(slope_of_new, reset, out=slopes[:, :, 2])
        cast = [weight.to(ctx.dtype) for weight in weights]
        places = _places(weights)
        of_state = torch.zeros_like(states[0])
        of_output = torch.empty_like(new)
        for frame in reversed(range(frames)):
            torch.add(of_state, gradient[frame], out=of_output[frame])
            slopes[frame].mul_(of_output[frame].unsqueeze(1))  # now the gradient of the products with the state
            torch.mul(of_output[frame], update[frame], out=of_state)
            for weight, place in zip(cast, places, strict=True):
                flat = slopes[frame, :, :, place].reshape(batch, -1)
                of_state[:, place] += torch.mm(flat.to(ctx.dtype), weight)
        of_weights = []
        for place in places:
            flat = slopes[..., place].reshape(frames * batch, -1).to(ctx.dtype)
            before = states[:-1, :, place].reshape(frames * batch, -1).to(ctx.dtype)
            of_weights.append(torch.mm(flat.t(), before).to(new.dtype))
        of_bias = slopes[:, :, 2].sum(dim=(0, 1))
        torch.mul(of_output, slope_of_new, out=slopes[:, :, 2])  # what comes from the input meets no reset gate
        return None, slopes, of_state, of_bias, *of_weights


def _places(weights: Sequence[Tensor]) -> list[slice]:
    """Where the units of each layer are."""
    places, start = [], 0
    for weight in weights:
        places.append(slice(start, start + weight.shape[1]))
        start += weight.shape[1]
    return places
