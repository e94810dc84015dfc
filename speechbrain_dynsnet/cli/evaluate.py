"""`dynsnet evaluate`: score a model's exits, peers or anybody's files against clean speech."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speechbrain_dynsnet import __version__
from speechbrain_dynsnet.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dynsnet.evaluation.evaluate import Row
    from speechbrain_dynsnet.evaluation.results import ResultFolder
    from speechbrain_dynsnet.evaluation.systems import Network, Pair, System

_MEASURED_WITH = ("pesq", "pystoi", "speechmos", "librosa", "onnxruntime", "numpy", "torch")


@click.command("evaluate")
@click.argument("model", required=False)
@click.option(
    "--test_set", type=Path, metavar="SET",
    help="A folder with clean/ and noisy/, as the DNS challenge's, or a CSV file with the columns clean and noisy.",
)  # fmt: skip
@click.option("--enhanced", type=Path, metavar="DIR", help="Score these files too, or alone: any system's output.")
@click.option("--clean", type=Path, metavar="DIR", help="The clean speech for --enhanced, without a --test_set.")
@click.option("--exits", metavar="K,K", help="The exits to score, such as 0,3. [default: all]")
@click.option("--peers", metavar="NAME,NAME", help="Others on the same clips: nsnet2, rnnoise (extra [peers]).")
@click.option(
    "--baseline", metavar="MODEL_OR_CSV",
    help="Report shares of the scores of this model's deepest exit, or of another evaluation's clips.csv.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes. [default: one a core]")
@click.option("-o", "--output", type=Path, metavar="OUT", required=True, help="The folder for the results.")
def command(
    model: str | None,
    test_set: Path | None,
    enhanced: Path | None,
    clean: Path | None,
    exits: str | None,
    peers: str | None,
    baseline: str | None,
    jobs: int | None,
    output: Path,
) -> None:
    """Score speech enhancement: PESQ-WB, DNSMOS (P.808, and P.835 SIG, BAK, OVRL), STOI and SI-SDR.

    MODEL is a folder, Hub id, public nsNet2 weights (.npz) or exported .onnx file. It is the one in this package where
    neither MODEL, --enhanced nor --peers is given.

    OUT/clips.csv has a row for each clip and system, OUT/summary.csv the means with their 95 % intervals, which are
    printed too. The same command goes on where it was stopped.
    """
    try:
        from speechbrain_dynsnet.data.folder_lock import hold
        from speechbrain_dynsnet.evaluation.evaluate import COLUMNS, check_lengths
        from speechbrain_dynsnet.evaluation.results import ResultFolder
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: install the package with its [evaluation] extra") from error

    pairs = _pairs(test_set, clean, enhanced)
    table = _table(baseline)
    measured = _systems(pairs, model, exits, peers, enhanced, None if table else baseline)
    check_lengths(pairs)
    facts = dict.fromkeys(name for pair in pairs for name in pair.facts)
    settings = _settings(pairs, measured, test_set or clean)
    if baseline and table:
        _check_same_speech(Path(baseline), table, settings)
    folder = ResultFolder(output, settings, (*COLUMNS, *facts))
    with hold(output):
        rows = _score(pairs, measured, folder, jobs or os.cpu_count() or 1)
        _report(rows, rows if baseline and not table else table, measured, folder)


def _pairs(test_set: Path | None, clean: Path | None, enhanced: Path | None) -> list[Pair]:
    from speechbrain_dynsnet.cli.pairing import find_pairs, match_enhanced, pairs_of_clean

    if (test_set is None) == (clean is None):
        raise InputError("give either --test_set, or --clean and --enhanced")
    if clean is not None and enhanced is None:
        raise InputError("--clean is for --enhanced: give that too, or a --test_set")
    pairs = find_pairs(test_set) if test_set is not None else pairs_of_clean(clean)  # type: ignore[arg-type]
    return pairs if enhanced is None else match_enhanced(pairs, enhanced)


def _table(baseline: str | None) -> list[Row] | None:
    """The rows of another evaluation, when the baseline is that and no model."""
    from speechbrain_dynsnet.evaluation.results import CLIPS, read_clips
    from speechbrain_dynsnet.evaluation.summary import find_baseline

    if baseline is None or not (baseline.endswith(".csv") or Path(baseline, CLIPS).is_file()):
        return None
    rows = read_clips(Path(baseline))
    find_baseline(rows)  # now, and not when all is scored
    return rows


def _systems(
    pairs: list[Pair],
    model: str | None,
    exits: str | None,
    peers: str | None,
    enhanced: Path | None,
    baseline: str | None,
) -> list[System]:
    from speechbrain_dynsnet.evaluation.summary import BASELINE
    from speechbrain_dynsnet.evaluation.systems import Folder, Noisy, Peer

    systems: list[System] = []
    if pairs[0].noisy is not None:
        systems.append(Noisy())
        if model is not None or (enhanced is None and peers is None):
            systems.append(_network(model, exits))
        systems += [Peer(name) for name in dict.fromkeys(filter(None, (peers or "").split(",")))]
        if baseline is not None:
            systems.append(_network(baseline, system=BASELINE))
    elif model or peers or baseline:
        raise InputError("a model, --peers and --baseline MODEL need noisy speech: give --test_set in place of --clean")
    if enhanced is not None:
        systems.append(Folder(enhanced.resolve().name))
    names = [output.system for system in systems for output in system.outputs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InputError(f"two systems are called {', '.join(sorted(repeated))}; rename the folder of --enhanced")
    return systems


def _network(source: str | None, exits: str | None = None, system: str | None = None) -> Network:
    from speechbrain_dynsnet.evaluation.systems import Network, find_exits
    from speechbrain_dynsnet.inference.sources import find_model

    path = find_model(source)
    found = find_exits(path)
    name = path.name if source is None or Path(source).exists() else source
    wanted = _numbers(exits) if exits is not None else found[-1:] if system else found
    if missing := sorted(set(wanted) - set(found)):
        raise InputError(f"{name} has no exit {missing[0]}: choose from {list(found)}")
    return Network(path, name, wanted, system)


def _numbers(exits: str) -> tuple[int, ...]:
    from speechbrain_dynsnet.model.architecture import check_exits

    try:
        return check_exits([int(exit) for exit in exits.split(",")])
    except ValueError as error:
        raise InputError(f"--exits is {exits!r}: give stage numbers with commas between, such as 0,1,3,5") from error


def _settings(pairs: list[Pair], systems: list[System], source: Path | None) -> dict[str, Any]:
    """What decides the rows, without paths of this machine."""
    from speechbrain_dynsnet.evaluation.metrics import METRICS
    from speechbrain_dynsnet.evaluation.systems import Folder

    assert source is not None
    names = {output.system: system.identity() for system in systems for output in system.outputs}
    for system in systems:
        if isinstance(system, Folder):
            names |= {output.system: {"sha256": _digest(pairs, "enhanced")} for output in system.outputs}
    return {
        "systems": list(names),
        "models": names,
        "test_set": {
            "name": source.resolve().name,
            "clips": len(pairs),
            "sha256": _digest(pairs, "clean", "noisy"),
            "clean_sha256": _digest(pairs, "clean"),
            "facts_sha256": _digest(pairs),
        },
        "metrics": list(METRICS),
        "versions": {"speechbrain_dynsnet": __version__, **{name: version(name) for name in _MEASURED_WITH}},
    }


def _digest(pairs: list[Pair], *roles: str) -> str:
    """SHA-256 of the clips' names and the contents of these of their files; with no role, of what is known of them."""
    digest = sha256()
    for pair in pairs:
        for path in (getattr(pair, role) for role in roles):
            digest.update(f"{pair.clip} {sha256(path.read_bytes()).hexdigest() if path else None}\n".encode())
        if not roles:
            digest.update(f"{pair.clip} {json.dumps(pair.facts)}\n".encode())
    return digest.hexdigest()


def _check_same_speech(baseline: Path, rows: list[Row], settings: dict[str, Any]) -> None:
    """InputError when nothing tells that another evaluation is of the same clips: names alone do not."""
    from speechbrain_dynsnet.evaluation.results import SETTINGS
    from speechbrain_dynsnet.evaluation.systems import NOISY

    noisy = {row["clip"] for row in rows if row["system"] == NOISY}
    if NOISY in settings["systems"] and noisy:
        return  # its scores tell, clip by clip
    record = (baseline if baseline.is_dir() else baseline.parent) / SETTINGS
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if before.get("test_set", {}).get("clean_sha256") != settings["test_set"]["clean_sha256"]:
        raise InputError(
            f"{baseline}: nothing shows that it was measured on the same clean speech; measure both on one --test_set"
        )


def _score(pairs: list[Pair], systems: list[System], folder: ResultFolder, jobs: int) -> list[Row]:
    """The rows of all clips, in the order of clips and systems; those of earlier runs are kept."""
    from tqdm import tqdm

    from speechbrain_dynsnet.evaluation.evaluate import evaluate

    by_clip: dict[str, list[Row]] = {}
    for row in folder.resume():
        by_clip.setdefault(row["clip"], []).append(row)
    left = [pair for pair in pairs if pair.clip not in by_clip]
    with tqdm(total=len(pairs), initial=len(by_clip), unit="clip", disable=None) as bar:
        for rows in evaluate(left, systems, jobs) if left else ():
            folder.add(rows)
            by_clip[rows[0]["clip"]] = rows
            bar.update()
    rows = [row for pair in pairs for row in by_clip[pair.clip]]
    folder.finish(rows)
    return rows


def _report(rows: list[Row], baseline: list[Row] | None, systems: list[System], folder: ResultFolder) -> None:
    from speechbrain_dynsnet.evaluation.summary import COLUMNS, summarise, to_markdown
    from speechbrain_dynsnet.evaluation.systems import Network

    shares: dict[str, float] = {}
    for system in systems:
        if isinstance(system, Network):
            shares |= system.macs_shares()
    summary = summarise(rows, baseline, shares)
    folder.write_summary(COLUMNS, summary)
    click.echo(to_markdown(summary))
