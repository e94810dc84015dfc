"""Tar shards for training at scale, of pairs or of source clips.

python recipes/DNS2020/shard.py CLIPS OUT                  the pairs that synthesise.py wrote into CLIPS
python recipes/DNS2020/shard.py DATA OUT --kind sources    the speech, noise and rooms of a data folder or manifest

Train on pairs with --shards OUT, --shards "OUT/{000..009}.tar" or an address instead of OUT. Shards of sources unpack
into a data folder. Either can be read with webdataset, too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from speechbrain_dynsnet.data.manifest import SPLITS, read_corpus
from speechbrain_dynsnet.data.shard_index import INDEX, KINDS
from speechbrain_dynsnet.data.shard_writing import FORMATS, Sample, pair_samples, source_samples, write_shards
from speechbrain_dynsnet.errors import one_line_errors

NAMED = 10  # so many files that are left out are named


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("data", metavar="DATA", type=Path)
@click.argument("output", metavar="OUT", type=Path)
@click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], help="What DATA holds.")
@click.option("--split", type=click.Choice([*SPLITS, "all"]), default="all", help="Which sources.")
@click.option("--per_shard", type=click.IntRange(1), default=256, help="Samples in a shard.")
@click.option("--format", "extension", type=click.Choice(FORMATS), default=FORMATS[0], help="16 bits, without loss.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), help="Files encoded at the same time.")
def main(data: Path, output: Path, kind: str, split: str, per_shard: int, extension: str, jobs: int) -> None:
    """Write the clips of DATA into tar shards in OUT, with an index of them.

    The same command goes on where it was stopped.
    """
    try:
        with one_line_errors():
            samples, alone = find_samples(data, kind, split)
            index, failures = write_shards(output, samples, kind, per_shard, extension, jobs)
            shards = index["shards"]
            hours = sum(shard["seconds"] for shard in shards) / 3600
            count = sum(shard["samples"] for shard in shards)
            click.echo(f"written: {output / INDEX} and {len(shards)} shards: {count:,} {kind}, {hours:.2f} h")
            report_left_out([*(f"{path}: {reason}" for path, reason in alone.items()), *map(str, failures)])
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def find_samples(data: Path, kind: str, split: str) -> tuple[list[Sample], dict[Path, str]]:
    """What goes into the shards, and files that cannot, with the reason."""
    if kind == "pairs":
        return pair_samples(data)
    return source_samples(read_corpus(data, SPLITS if split == "all" else (split,))), {}


def report_left_out(reasons: list[str]) -> None:
    """Name the first of the files that are left out, and count them."""
    if reasons:
        named = "".join(f"\n  {reason}" for reason in reasons[:NAMED])
        click.echo(f"left out: {len(reasons)} files{named}" + ("\n  ..." if len(reasons) > NAMED else ""), err=True)


if __name__ == "__main__":
    main()
