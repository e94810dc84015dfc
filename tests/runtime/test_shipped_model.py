"""The runtime file in the package is the package's model."""

from __future__ import annotations

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.runtime.export import weights_sha256
from speechbrain_dynsnet.runtime.export.folder import CLIP
from speechbrain_dynsnet.runtime.export.verify import verify
from speechbrain_dynsnet.runtime.model import RuntimeModel


def test_it_has_the_shipped_weights_at_every_exit_in_int8() -> None:
    network, model = load_bundle(), RuntimeModel()
    assert model.fingerprint.startswith(weights_sha256(network))
    assert (model.exits, model.precision, model.frames) == (network.exits, "int8", 1)
    clip = read_audio(CLIP).samples[0]
    assert all(one.is_within("int8") for one in verify(network, model, clip))
