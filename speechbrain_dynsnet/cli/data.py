"""`dynsnet data`: a look at data before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechbrain_dynsnet.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dynsnet.data.look import LookSettings

_EXAMPLES = 3


@click.command("data")
@click.argument("data", metavar="DIR")
@click.option(
    "-o", "--output", metavar="OUT", type=Path, default=Path("data.png"), show_default=True,
    help="The picture to write; its extension chooses the format.",
)  # fmt: skip
@click.option(
    "--split", "splits", metavar="NAME", multiple=True,
    help="Look at this split; may be given several times, pairs are mixed from the first. [default: train and valid]",
)  # fmt: skip
@click.option("--clips", type=click.IntRange(1), default=200, show_default=True, help="How many pairs to measure.")
@click.option(
    "--hparams", metavar="YAML", type=Path,
    help="Mix pairs as this recipe does. [default: as those in hparams/ do]",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed draws other files and pairs."
)
@click.option(
    "--decoded", type=Path, metavar="DIR", default=Path("results/decoded"), show_default=True,
    help="Where decoded copies are kept; the default is where training keeps them.",
)  # fmt: skip
def command(
    data: str, output: Path, splits: tuple[str, ...], clips: int, hparams: Path | None, seed: int, decoded: Path
) -> None:
    """Print hours, speakers, durations, levels and SNRs of data, and draw them.

    DIR is what training takes: a folder with clean/, noise/ and impulse_responses/, or a manifest (or the folder that
    holds manifest.csv). Pairs are mixed from it as in training, of at most 500 random files of a kind, and measured. Or
    it holds pairs: clips that synthesise.py wrote, or shards of them.
    """
    try:
        from speechbrain_dynsnet.data.look import LookSettings, look
        from speechbrain_dynsnet.data.look_text import describe
        from speechbrain_dynsnet.evaluation.data_picture import Example, draw_data
        from speechbrain_dynsnet.evaluation.pictures import check_picture
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        raise InputError(f"{name} is not installed: install the package with its [evaluation] extra") from error

    check_picture(output)
    settings = LookSettings(splits=splits, clips=clips, seed=seed, decoded_folder=decoded)
    if hparams is not None:
        settings = _as_recipe(settings, hparams)
    found = look(data, settings)
    click.echo("\n".join(describe(found)))
    pairs = found.pairs
    draw_data(
        output,
        f"{found.name}: {len(pairs.measured)} {found.origin}",
        snrs_db={"measured": pairs.column("snr_db"), "asked for": pairs.column("asked_snr_db")},
        levels_dbfs={
            "speech (active)": pairs.column("speech_dbfs"),
            "noise": pairs.column("noise_dbfs"),
            "mixture": pairs.column("mixture_dbfs"),
            "mixture asked for": pairs.column("asked_level_dbfs"),
        },
        seconds=found.durations(),
        examples=[Example(pair.noisy, pair.clean, snr_db) for pair, snr_db in found.examples(_EXAMPLES)],
    )
    click.echo(f"written: {output}")


def _as_recipe(settings: LookSettings, hparams: Path) -> LookSettings:
    from speechbrain_dynsnet.training.recipe import load_recipe

    recipe = load_recipe(hparams)
    return replace(settings, mixing=recipe.mixing, clip_s=recipe.clip_s)
