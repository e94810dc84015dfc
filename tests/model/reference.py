"""Dynamic nsNet2 written anew from the paper, in numpy: frame by frame, one line a layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
KINDS = ("fc", "gru", "gru", "fc", "fc", "fc")


def sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def dense(weights: dict[str, Array], name: str, x: Array) -> Array:
    return x @ weights[f"{name}.linear.weight"].T + weights[f"{name}.linear.bias"]


def gru(weights: dict[str, Array], name: str, x: Array) -> Array:
    """(time, inputs) -> (time, hidden), from h = 0, with the gates r, z, n."""
    w_ih, w_hh = weights[f"{name}.gru.weight_ih_l0"], weights[f"{name}.gru.weight_hh_l0"]
    b_ih, b_hh = weights[f"{name}.gru.bias_ih_l0"], weights[f"{name}.gru.bias_hh_l0"]
    h = np.zeros(w_hh.shape[1])
    outputs = []
    for frame in x:
        r_x, z_x, n_x = np.split(w_ih @ frame + b_ih, 3)
        r_h, z_h, n_h = np.split(w_hh @ h + b_hh, 3)
        z = sigmoid(z_x + z_h)
        h = (1 - z) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + z * h
        outputs.append(h)
    return np.stack(outputs)


def chain_masks(weights: dict[str, Array], features: Array, bins: int, fc1_relu: bool = True) -> list[Array]:
    """The masks of all six stages of `baseline` and `pretrain`: the first `bins` features of each."""
    masks, x = [], features
    for index, kind in enumerate(KINDS):
        name = f"stages.{index}.layer"
        if kind == "gru":
            x = gru(weights, name, x)
            masks.append(0.5 * (1 + x[:, :bins]))
        else:
            linear = dense(weights, name, x)
            masks.append(sigmoid(linear[:, :bins]))
            x = linear if index == 0 and not fc1_relu else relu(linear)
    return masks


def split_masks(weights: dict[str, Array], features: Array, concat: bool) -> list[Array]:
    """The masks of all six stages of `split` and `concat`."""
    masks: list[Array] = []
    phi = star = features
    for index, kind in enumerate(KINDS):
        both = np.concatenate([phi, star], axis=1) if index else features
        star_input = both if concat else star
        name, star_name = f"stages.{index}.mask_layer", f"stages.{index}.feature_layer"
        if kind == "gru":
            phi = gru(weights, name, both)
            masks.append(0.5 * (1 + phi))
        else:
            linear = dense(weights, name, both)
            masks.append(sigmoid(linear))
            phi = relu(linear)
        if index < 5:
            star = gru(weights, star_name, star_input) if kind == "gru" else relu(dense(weights, star_name, star_input))
    return masks
