"""How SpeechBrain's loader gets the weights of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechbrain.utils.fetching import FetchConfig, LocalStrategy, fetch
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_dynsnet.model.bundle import WEIGHTS, load_weights


class BundlePretrainer(Pretrainer):  # type: ignore[misc]
    """A Pretrainer for safetensors, loaded strictly.

    SpeechBrain's own looks for `<loadable>.ckpt` and loads it without strictness: a file that does not fit
    would leave random weights behind.
    """

    def __init__(self, loadables: dict[str, Any]) -> None:
        super().__init__(loadables=loadables, custom_hooks=dict.fromkeys(loadables, load_weights))

    def collect_files(
        self,
        default_source: Any = None,
        local_strategy: LocalStrategy = LocalStrategy.SYMLINK,
        fetch_config: FetchConfig | None = None,
    ) -> dict[str, Path]:
        """Fetch the weights file from the bundle's folder or Hub repository."""
        path = fetch(
            WEIGHTS,
            source=default_source,
            savedir=self.collect_in,
            local_strategy=local_strategy,
            fetch_config=fetch_config or FetchConfig(),
        )
        self.paths = {name: str(path) for name in self.loadables}
        self.is_local = list(self.loadables)
        return dict.fromkeys(self.loadables, path)
