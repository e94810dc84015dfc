"""One noise suppressor, several compute budgets: nsNet2 with early exits, as a SpeechBrain plugin.

The public names are loaded when they are first used, so that the package and its `runtime` can be
imported where torch is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechbrain_dynsnet.lazy import lazy_names

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


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
