"""`dynsnet card`: a model's card from what was measured of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechbrain_dynsnet.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dynsnet.hub.training_data import TrainingData


@click.command("card")
@click.argument("model")
@click.option(
    "--results", type=Path, metavar="CSV", required=True, help="summary.csv of `dynsnet evaluate`, or its folder."
)
@click.option("--bench", type=Path, metavar="CSV", help="The file of `dynsnet bench -o`, for the times.")
@click.option(
    "--data", type=Path, metavar="MANIFEST",
    help="The training data: a CSV manifest with the columns source, licence and seconds too.",
)  # fmt: skip
@click.option(
    "--data_note", default="", metavar="TEXT", help="The training data in your words, with --data or without."
)
@click.option(
    "--test_note", default="", metavar="TEXT", help="What the test set holds, and how it differs from training."
)
@click.option("--teacher_note", default="", metavar="TEXT", help="What the teacher is, and was trained on.")
@click.option("--limits_note", default="", metavar="TEXT", help="Limits besides those that the files tell.")
@click.option("--languages", default="", metavar="CODE,CODE", help="Of the training speech, such as en,de.")
@click.option("--license", "licence", metavar="ID", help="Of the weights, as the Hub calls it, such as apache-2.0.")
@click.option("--datasets", default="", metavar="ID,ID", help="The training data's ids on the Hub, where it has some.")
@click.option("--repo_id", metavar="USER/NAME", help="Where the model will be on the Hub, for the examples.")
@click.option("--package", metavar="REQUIREMENT", help="What pip gets this package by, such as git+https://... .")
@click.option("-o", "--output", type=Path, metavar="OUT", help="The file to write. [default: README.md of the model]")
@click.option("--overwrite", is_flag=True, help="Replace a card that somebody made.")
def command(
    model: str,
    results: Path,
    bench: Path | None,
    data: Path | None,
    data_note: str,
    test_note: str,
    teacher_note: str,
    limits_note: str,
    languages: str,
    licence: str | None,
    datasets: str,
    repo_id: str | None,
    package: str | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Write the card of MODEL, a folder, from what `dynsnet evaluate` and `dynsnet bench` measured of it.

    What neither those files nor MODEL itself nor an option tells is said to be not given. The short card that a model
    has from its training is replaced; one that somebody made only with --overwrite.
    """
    try:
        from speechbrain_dynsnet.hub.card import Given, make_card
        from speechbrain_dynsnet.hub.repo_ids import check_repo_id
        from speechbrain_dynsnet.inference.sources import is_hub_id, resolve_source, shipped_names
        from speechbrain_dynsnet.model.bundle import CARD
        from speechbrain_dynsnet.writing import check_writable, write_text
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: install the package with its [evaluation] extra") from error

    if output is None and not Path(model).exists() and (is_hub_id(model) or model in shipped_names()):
        raise InputError(f"{model}: is no folder here; say with -o where its card is to be")
    if repo_id is not None:
        check_repo_id(repo_id)
    if package is not None and not package.strip():
        raise InputError("--package is empty: give what pip gets this package by, or leave it out")
    folder = resolve_source(model)
    path = output or folder / CARD
    check_writable(path, "card")
    if not overwrite and path.exists() and not _is_short_card(path, folder):
        raise InputError(f"{path}: there is a card already; replace it with --overwrite, or write to another file (-o)")
    given = Given(
        tuple(_words(languages)), licence, tuple(_words(datasets)), repo_id, package,
        *(" ".join(note.split()) for note in (data_note, test_note, teacher_note, limits_note)),
    )  # fmt: skip
    card = make_card(folder, results, bench, None if data is None else _read_data(data, folder), given)
    write_text(path, str(card))
    click.echo(f"written: {path}")


def _is_short_card(path: Path, folder: Path) -> bool:
    from speechbrain_dynsnet.model.bundle import check_bundle, short_card

    return path.read_bytes() == short_card(check_bundle(folder)).encode()


def _read_data(path: Path, folder: Path) -> TrainingData:
    from speechbrain_dynsnet.data.manifest import read_rows
    from speechbrain_dynsnet.hub.card import recorded_files, recorded_training
    from speechbrain_dynsnet.hub.training_data import summarise

    if not path.is_file():
        raise InputError(f"{path}: no such file; give the CSV manifest of the training data")
    return summarise(path, read_rows(path), recorded_files(recorded_training(folder)))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
