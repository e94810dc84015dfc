"""Running an exported model with numpy and onnxruntime, without torch.

The public names are loaded when they are first used, so that `format` and `export` do not wait for onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechbrain_dynsnet.lazy import lazy_names

if TYPE_CHECKING:
    from speechbrain_dynsnet.runtime.at_rate import StreamAtRate
    from speechbrain_dynsnet.runtime.enhancer import Enhancer
    from speechbrain_dynsnet.runtime.model import RuntimeModel
    from speechbrain_dynsnet.runtime.stream import Stream

__all__ = ["Enhancer", "RuntimeModel", "Stream", "StreamAtRate"]

_HOMES = {"Enhancer": "enhancer", "RuntimeModel": "model", "Stream": "stream", "StreamAtRate": "at_rate"}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
