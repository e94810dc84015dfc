"""The command line: `dynsnet COMMAND`, a module a command. Heavy imports wait until a command needs them."""

from __future__ import annotations

from typing import Any

import click

from speechbrain_dynsnet import __version__
from speechbrain_dynsnet.cli import bench, card, data, enhance, evaluate, export, push, stream
from speechbrain_dynsnet.errors import one_line_errors


class _InputErrorGroup(click.Group):
    """Ends every command's errors as one line on stderr and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors():
            return super().invoke(ctx)


@click.group(cls=_InputErrorGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Noise suppression at several compute budgets, with Dynamic nsNet2."""


for module in (bench, card, data, enhance, evaluate, export, push, stream):
    main.add_command(module.command)
