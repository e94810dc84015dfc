"""The runtime files in the package are the package's model, in the two kinds that streams and whole files want."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.runtime import Enhancer, Stream
from speechbrain_dynsnet.runtime.export import weights_sha256
from speechbrain_dynsnet.runtime.export.folder import CLIP
from speechbrain_dynsnet.runtime.export.verify import verify
from speechbrain_dynsnet.runtime.model import RuntimeModel


@pytest.mark.parametrize(("load", "frames"), [(lambda: Stream().model, 1), (lambda: Enhancer().model, "any")])
def test_they_have_the_shipped_weights_at_every_exit_in_int8(
    load: Callable[[], RuntimeModel], frames: int | str
) -> None:
    network, model = load_bundle(), load()
    assert model.fingerprint.startswith(weights_sha256(network))
    assert (model.exits, model.precision, model.frames) == (network.exits, "int8", frames)
    clip = read_audio(CLIP).samples[0]
    assert all(one.is_within("int8") for one in verify(network, model, clip))


def test_a_stream_and_a_whole_file_are_the_same() -> None:
    clip = read_audio(CLIP).samples
    stream = Stream()
    streamed = np.concatenate([stream.process(clip[0]), stream.flush()])
    np.testing.assert_allclose(Enhancer().enhance(clip)[0], streamed, atol=1e-6)
