"""Running an exported model with numpy and onnxruntime, without torch.

The public names are loaded when they are first used, so that `format` and `export` do not wait for onnxruntime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechbrain_dynsnet.runtime.enhancer import Enhancer
    from speechbrain_dynsnet.runtime.model import RuntimeModel
    from speechbrain_dynsnet.runtime.stream import Stream

__all__ = ["Enhancer", "RuntimeModel", "Stream"]

_HOMES = {"Enhancer": "enhancer", "RuntimeModel": "model", "Stream": "stream"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
