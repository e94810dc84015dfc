"""`dynsnet push`: a model to the Hugging Face Hub, with its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechbrain_dynsnet.errors import InputError, printable

if TYPE_CHECKING:
    from speechbrain_dynsnet.hub.upload import Upload


@click.command("push")
@click.argument("model")
@click.argument("repo_id")
@click.option("--private", is_flag=True, help="If the repository is created: for you alone. [default: public]")
@click.option("--dry_run", is_flag=True, help="List what would go, and what its card says; nothing is sent.")
def command(model: str, repo_id: str, private: bool, dry_run: bool) -> None:
    """Upload MODEL, a folder or a model of this package, to REPO_ID (user/name) on the Hugging Face Hub, in one commit.

    Its card, configuration and weights go, and no other file. A repository that does not exist is created, public
    unless --private is given or the organisation decided otherwise; one that exists stays as private as it is.
    """
    try:
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        from speechbrain_dynsnet.hub.card import loaded_by_examples
        from speechbrain_dynsnet.hub.repo_ids import check_repo_id
        from speechbrain_dynsnet.hub.upload import plan_upload, push
        from speechbrain_dynsnet.inference.sources import resolve_source, shipped_names
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: install the package with its [evaluation] extra") from error

    check_repo_id(repo_id)
    if not Path(model).is_dir() and model not in shipped_names():
        raise InputError(f"{model}: no such folder; give the folder of a model, or {' or '.join(shipped_names())}")
    upload = plan_upload(resolve_source(model))
    if (loaded := loaded_by_examples(upload.card)) not in (None, repo_id):
        whose = "it" if Path(model).is_dir() else "the card of a copy"  # the package's own stays as it is
        anew = f"make {whose} anew with `dynsnet card`, the options that it had, and --repo_id {repo_id} --overwrite"
        click.echo(f"the card's example loads {loaded}: {anew}", err=True)
    if dry_run:
        _print(upload, repo_id)
        return
    disable_progress_bars()  # one that breaks off leaves no line of its own for the error
    pushed = push(upload, repo_id, private, report=lambda step: click.echo(step, err=True))
    click.echo(f"{'pushed' if pushed.changed else 'nothing has changed'}: {pushed.url}")
    click.echo(f'EnhanceDynamic.from_hparams("{repo_id}", revision="{pushed.commit}")')


def _print(upload: Upload, repo_id: str) -> None:
    from speechbrain_dynsnet.hub.prose import table

    rows = [[file.name, f"{file.size:,}", file.sha256] for file in upload.files]
    click.echo(f"would go to {repo_id}; nothing was sent:\n\n{table(['file', 'bytes', 'sha256'], rows)}\n")
    if upload.staying:
        click.echo(f"stays here, as no part of the model: {printable(', '.join(upload.staying))}\n")
    data = upload.card.data
    for name in ("license", "language", "datasets"):
        value = data.get(name)
        told = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"the card's {name}: {told or 'not given'}")
    figures = data.get("eval_results") or []
    for figure in figures:
        click.echo(f"the card's figure: {figure.metric_name or figure.metric_type}: {figure.metric_value}")
    if not figures:
        click.echo("the card's figures: none")
