"""One noise suppressor, several compute budgets: nsNet2 with early exits, as a SpeechBrain plugin.

The public names are loaded when they are first used, so that the package and its `runtime` can be
imported where torch is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechbrain_dynsnet.errors import InputError
    from speechbrain_dynsnet.inference.enhance import EnhanceDynamic
    from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
    from speechbrain_dynsnet.model.network import DynamicNsNet2

__version__ = "0.1.0"
__all__ = ["DynamicNsNet2", "EnhanceDynamic", "InputError", "load_bundle", "save_bundle"]

_HOMES = {
    "DynamicNsNet2": "model.network",
    "EnhanceDynamic": "inference.enhance",
    "InputError": "errors",
    "load_bundle": "model.bundle",
    "save_bundle": "model.bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
