"""`EnhanceDynamic`: SpeechBrain's way to use a trained model, with a choice of exits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from ruamel.yaml.error import YAMLError
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from speechbrain_dynsnet.audio.enhancement import MaskStream, Settings, enhance_audio, enhance_file
from speechbrain_dynsnet.audio.files import LARGEST_SAMPLE, Audio, read_audio
from speechbrain_dynsnet.errors import InputError, one_line
from speechbrain_dynsnet.inference.sources import copy_bundle, resolve_source
from speechbrain_dynsnet.model.bundle import HYPERPARAMS, check_configuration
from speechbrain_dynsnet.model.device import check_device
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.network import DynamicNsNet2


class EnhanceDynamic(Pretrained):  # type: ignore[misc]
    """Denoise speech with one model at the compute budget of any of its exits.

    An early exit runs fewer layers and removes less noise. Make one with `from_hparams`: what the constructor takes is
    that of `speechbrain.inference.interfaces.Pretrained`, and `modules` holds the network as `model`.

    Example
    -------
    >>> import torch
    >>> enhancer = EnhanceDynamic.from_hparams(run_opts={"device": "cpu"})
    >>> noisy = torch.randn(2, 16000)
    >>> enhancer.enhance_batch(noisy, exit=enhancer.exits[0]).shape
    torch.Size([2, 16000])
    """

    @classmethod
    def from_hparams(
        cls,
        source: str | Path | None = None,
        savedir: str | Path | None = None,
        run_opts: Mapping[str, Any] | None = None,
        *,
        revision: str | None = None,
        **kwargs: Any,
    ) -> EnhanceDynamic:
        """Load a model.

        The folder's `hyperparams.yaml` runs code when it is loaded: use sources that you trust.

        Arguments
        ---------
        source : str, Path or None
            None for the model that comes with this package, a local folder, or a Hub id
            `user/repo`. A Hub model is kept in Hugging Face's cache and taken from there when
            there is no connection.
        savedir : str, Path or None
            A folder to put a copy of the model in, and to load it from.
        run_opts : dict or None
            SpeechBrain's run options, such as `{"device": "cuda:0"}`. Without a device, a GPU is
            used where there is one.
        revision : str or None
            Branch, tag or commit of a Hub model.
        **kwargs
            Passed on to SpeechBrain's `Pretrained.from_hparams`, such as `overrides` or
            `freeze_params`.

        Returns
        -------
        EnhanceDynamic
            Ready to use, in evaluation mode.

        Raises
        ------
        InputError
            When the source is missing, no model or damaged, `savedir` holds another model, or
            there is no such device.

        Example
        -------
        >>> EnhanceDynamic.from_hparams(run_opts={"device": "cpu"}).exits
        (0, 1, 3, 5)
        """
        if "fetch_config" in kwargs:
            raise TypeError("from_hparams takes revision=... in place of fetch_config")
        options = dict(run_opts or {})
        if options.get("device") is not None:
            options["device"] = check_device(options["device"])
        folder = resolve_source(source, revision)
        if savedir is not None:
            folder = copy_bundle(folder, savedir)
        # The folder is complete and checked, so SpeechBrain has nothing left to fetch or to link.
        try:
            enhancer = cast(EnhanceDynamic, super().from_hparams(str(folder), run_opts=options, **kwargs))
            check_configuration(folder, enhancer.network)
        except InputError:
            raise
        except (YAMLError, ImportError, LookupError, AttributeError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / HYPERPARAMS}: cannot be loaded ({_reason(error, folder / HYPERPARAMS)}); update the "
                "package if it is of a newer version, else fetch the model again"
            ) from error
        return enhancer

    @property
    def exits(self) -> tuple[int, ...]:
        """The stages at which this model can be left, shallow to deep."""
        return self.network.exits

    def check_exit(self, exit: int | None) -> int:
        """The exit to use: `exit`, or the deepest for None. InputError when there is none such."""
        return self.exits[-1] if exit is None else self.network.check_exit(exit)

    def enhance_batch(self, noisy: Tensor, lengths: Tensor | None = None, exit: int | None = None) -> Tensor:
        """Denoise a batch of signals at 16 kHz.

        Arguments
        ---------
        noisy : Tensor
            (batch, time), float, 16 kHz.
        lengths : Tensor or None
            (batch,), share of `time` that each signal fills, in SpeechBrain's way. What lies
            beyond is ignored, and silent in the result.
        exit : int or None
            Where to leave the network; None is the deepest.

        Returns
        -------
        Tensor
            (batch, time), on the model's device.

        Raises
        ------
        InputError
            For an exit that the model lacks, another shape, or samples that are NaN or infinite.

        Example
        -------
        >>> enhancer = EnhanceDynamic.from_hparams(run_opts={"device": "cpu"})
        >>> enhancer.enhance_batch(torch.zeros(1, 100)).abs().max()
        tensor(0.)
        """
        exit = self.check_exit(exit)
        if noisy.dim() != 2 or not noisy.numel() or not noisy.is_floating_point():
            raise InputError(
                f"noisy must be float samples of shape (batch, time), not {noisy.dtype} {tuple(noisy.shape)}"
            )
        noisy = noisy.to(self.device)
        if lengths is not None:
            valid = _valid_samples(torch.as_tensor(lengths).to(self.device), *noisy.shape)
            noisy = torch.where(valid, noisy, 0.0)
        if not (noisy.abs() <= LARGEST_SAMPLE).all():  # NaN is not either
            raise InputError("noisy holds samples that are NaN, infinite or absurdly large; repair them first")
        with self.inference_ctx:
            (enhanced,) = enhance(self.network, noisy.float(), (exit,))
        enhanced = enhanced.to(noisy.dtype)
        return enhanced if lengths is None else torch.where(valid, enhanced, 0.0)

    def forward(self, noisy: Tensor, lengths: Tensor | None = None, exit: int | None = None) -> Tensor:
        """Same as `enhance_batch`."""
        return self.enhance_batch(noisy, lengths, exit)

    def enhance_audio(self, audio: Audio, exit: int | None = None, **choices: Any) -> Audio:
        """Denoise a recording of any rate and any number of channels.

        Arguments
        ---------
        audio : Audio
            What `speechbrain_dynsnet.audio.files.read_audio` returns.
        exit : int or None
            Where to leave the network; None is the deepest.
        **choices
            The other fields of `speechbrain_dynsnet.audio.enhancement.Settings`: `attenuation_limit_db`, `mix`,
            `high_band` and `channels`.

        Returns
        -------
        Audio
            Of the same rate, channels, length and encoding.

        Raises
        ------
        InputError
            For an exit that the model lacks, or a choice that there is not.
        """
        return enhance_audio(self, audio, Settings(exit=exit, **choices))

    @overload
    def enhance_file(
        self,
        path: str | Path,
        output_filename: str | Path | None = None,
        exit: int | None = None,
        *,
        return_samples: Literal[True] = True,
        in_place: bool = False,
        **choices: Any,
    ) -> Tensor: ...
    @overload
    def enhance_file(
        self,
        path: str | Path,
        output_filename: str | Path | None = None,
        exit: int | None = None,
        *,
        return_samples: Literal[False],
        in_place: bool = False,
        **choices: Any,
    ) -> None: ...

    def enhance_file(
        self,
        path: str | Path,
        output_filename: str | Path | None = None,
        exit: int | None = None,
        *,
        return_samples: bool = True,
        in_place: bool = False,
        **choices: Any,
    ) -> Tensor | None:
        """Denoise a file; the result has its rate, channels and length.

        Arguments
        ---------
        path : str or Path
            Any audio file that libsndfile reads.
        output_filename : str, Path or None
            A file to write as well; its extension chooses the format. It comes second, as in SpeechBrain.
        exit : int or None
            Where to leave the network; None is the deepest.
        return_samples : bool
            False needs `output_filename`, and little memory for a file of any length.
        in_place : bool
            Allow the output to be the input, which is then replaced in one step.
        **choices
            See `enhance_audio`.

        Returns
        -------
        Tensor or None
            (time,) for mono, else (channels, time), on the CPU, at the file's own rate.

        Raises
        ------
        InputError
            For an exit that the model lacks, a file that is not usable audio, or an output that
            cannot be written or is the input itself. Nothing is written then.

        Example
        -------
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from speechbrain_dynsnet.audio.files import Audio, write_audio
        >>> enhancer = EnhanceDynamic.from_hparams(run_opts={"device": "cpu"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     noisy, clean = pathlib.Path(folder, "noisy.wav"), pathlib.Path(folder, "clean.flac")
        ...     write_audio(noisy, Audio(np.full((2, 4410), 0.1, dtype=np.float32), rate=44100))
        ...     enhancer.enhance_file(noisy, exit=1, output_filename=clean, attenuation_limit_db=12).shape
        torch.Size([2, 4410])
        """
        if not isinstance(output_filename, str | Path | None):
            raise InputError(f"output_filename is {output_filename!r}: give a file's name, and an exit as exit=K")
        settings = Settings(exit=exit, **choices)
        self.check_exit(exit)
        if output_filename is None:
            if not return_samples:
                raise InputError("return_samples=False needs an output_filename: nothing would remain")
            enhanced = enhance_audio(self, read_audio(path), settings).samples
        else:
            blocks: list[NDArray[np.float32]] = []
            keep = (lambda block: blocks.append(block.copy())) if return_samples else None
            enhance_file(self, path, output_filename, settings, in_place, keep=keep)
            if not return_samples:
                return None
            enhanced = np.concatenate(blocks).T
        samples = torch.from_numpy(np.ascontiguousarray(enhanced))
        return samples[0] if len(samples) == 1 else samples

    def start(self, channels: int, exit: int) -> MaskStream:
        """Begin a signal: a function from the next frames' features to their masks, which keeps the states.

        Arguments
        ---------
        channels : int
            How many; each has states of its own.
        exit : int
            One of `exits`.

        Returns
        -------
        callable
            (frames, channels, 257) float32 to the same shape, numpy arrays; any number of frames a call.
        """
        state = self.network.initial_state(channels, self.device)

        @torch.inference_mode()
        def masks(features: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal state
            batch = torch.from_numpy(features.transpose(1, 0, 2)).to(self.device)
            mask, state = self.network(batch, state, exit)
            return np.asarray(mask.transpose(0, 1).float().cpu())

        return masks

    @property
    def network(self) -> DynamicNsNet2:
        """The network, for those who want its masks."""
        return cast(DynamicNsNet2, self.mods["model"])


def _reason(error: Exception, hyperparams: Path) -> str:
    """Why a YAML cannot be loaded: what it lacks, where the error itself would not tell."""
    text = "\n" + hyperparams.read_text(encoding="utf-8", errors="replace")
    lacking = [name for name in ("modules", "pretrainer") if f"\n{name}:" not in text]
    return f"it lacks {' and '.join(lacking)}" if lacking else one_line(error)[:200]


def _valid_samples(lengths: Tensor, batch: int, time: int) -> Tensor:
    """(batch, time), true within each signal."""
    if lengths.shape != (batch,):
        raise InputError(f"lengths must have shape ({batch},), one share a signal, not {tuple(lengths.shape)}")
    if not ((lengths > 0) & (lengths <= 1)).all():  # NaN is neither
        raise InputError(
            f"lengths are {lengths.tolist()}: give the share of the time that each signal fills, above 0 and up to 1, "
            "not a number of samples"
        )
    ends = (lengths * time).round()
    return torch.arange(time, device=lengths.device) < ends.unsqueeze(-1)
