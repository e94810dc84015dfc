"""A model card from what was measured and recorded; what nobody gave is said to be not given."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from yaml import YAMLError

from speechbrain_dynsnet.errors import InputError, one_line
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.hub.exits_text import comparisons, exits_table, measurement
from speechbrain_dynsnet.hub.measured import read_bench, read_results
from speechbrain_dynsnet.hub.metadata import make_metadata
from speechbrain_dynsnet.hub.prose import listing
from speechbrain_dynsnet.hub.training_data import TrainingData, noise_types, to_markdown
from speechbrain_dynsnet.hub.training_text import describe_training
from speechbrain_dynsnet.model.architecture import Architecture
from speechbrain_dynsnet.model.bundle import (
    CARD,
    CONFIG,
    SHIPPED_BUNDLE,
    SHIPPED_MODELS,
    WEIGHTS,
    check_bundle,
    load_bundle,
    short_card,
    weights_digest,
)

_WEIGHTS_LINE = re.compile(r"SHA-256 of `" + re.escape(WEIGHTS) + r"`: `([0-9a-f]{64})`")
_EXAMPLE = re.compile(r'EnhanceDynamic\.from_hparams\((?:"([^"]+)")?\)')
_SCHEMES = {"joint": "trained jointly", "layerwise": "trained layer by layer"}
_PACKAGE = "speechbrain_dynsnet"


@dataclass(frozen=True)
class Given:
    """What no file tells, in the words of who makes the card; empty is said to be not given.

    Arguments
    ---------
    languages : tuple of str
        Of the training speech: ISO 639 codes.
    licence : str or None
        Of the weights: the Hub's identifier.
    datasets : tuple of str
        Ids on the Hub.
    repo_id : str or None
        Where the model will be: what the examples load.
    package : str or None
        Where pip finds this package: its argument.
    data_note, test_note, teacher_note, limits_note : str
        Markdown on the training data, the test set, the teacher, and on limits.
    """

    languages: tuple[str, ...] = ()
    licence: str | None = None
    datasets: tuple[str, ...] = ()
    repo_id: str | None = None
    package: str | None = None
    data_note: str = ""
    test_note: str = ""
    teacher_note: str = ""
    limits_note: str = ""


def make_card(
    bundle: Path, results: Path, bench: Path | None = None, data: TrainingData | None = None, given: Given | None = None
) -> ModelCard:
    """The card of a bundle.

    Arguments
    ---------
    bundle : Path
        The model.
    results : Path
        `summary.csv` of `dynsnet evaluate`, or its folder.
    bench : Path or None
        The CSV of `dynsnet bench`, for the times.
    data : TrainingData or None
        Sources and licences.
    given : Given or None
        The rest.

    Returns
    -------
    ModelCard
        Front matter and Markdown; `str` of it is the file.

    Raises
    ------
    InputError
        When the bundle is none, or the tables are of another model; see `read_results` and `read_bench`.
    """
    given = given or Given()
    network = load_bundle(bundle)
    architecture, training = network.architecture, recorded_training(bundle)
    costs = exit_costs(network)
    scores = read_results(results, bundle, costs)
    times = None if bench is None else read_bench(bench, costs, architecture.family)
    name = given.repo_id.partition("/")[2] if given.repo_id else f"dynamic-nsnet2-{architecture.family}-{len(costs)}"
    metadata = make_metadata(name, scores, costs, given.languages, given.licence, given.datasets)
    limits = [*_limits(architecture, training, data, given), *comparisons(scores, costs), given.limits_note]
    sections = [
        f"# {_title(architecture, training)}\n\n{_what_it_is(architecture, costs[0].parameters_in_all)}",
        f"## What an exit costs and gives\n\n{exits_table(costs, scores, times)}\n\n"
        f"{measurement(scores, times, given.test_note)}",
        f"## Use it\n\n{_usage(bundle, architecture, given)}",
        f"## Training\n\n{describe_training(training, given.teacher_note)}",
        f"## Training data\n\n{_data(training, data, given.data_note)}",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits if limit),
        f"## Licence\n\n{_licence(given.licence)}",
        f"## Citation\n\n{_CITATION}",
        f"SHA-256 of `{WEIGHTS}`: `{weights_digest(bundle)}`",
    ]
    body = "\n\n".join(sections)
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}\n")


def read_card(bundle: Path) -> ModelCard:
    """The card in a bundle, checked: it was made, and not for other weights.

    Raises
    ------
    InputError
        When there is no card but the short one that every bundle comes with, its front matter does not read, or it
        names other weights.
    """
    architecture = check_bundle(bundle)
    path = bundle / CARD
    advice = f"make it first: dynsnet card {bundle} --results RESULTS/summary.csv"
    if not path.is_file():
        raise InputError(f"{path}: the model has no card; {advice}")
    try:
        text = path.read_text(encoding="utf-8")
        if text == short_card(architecture):
            raise InputError(f"{path}: the model has no card yet, only its name and an example; {advice}")
        card = ModelCard(text)
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, YAMLError) as error:
        raise InputError(f"{path}: its front matter cannot be read ({one_line(error)[:200]}); {advice}") from error
    if not card.data.to_dict():
        raise InputError(f"{path}: has no front matter, which the Hub reads; {advice}")
    if (named := _WEIGHTS_LINE.search(text)) and named[1] != weights_digest(bundle):
        raise InputError(f"{path}: is the card of other weights than those in {WEIGHTS}; {advice} --overwrite")
    return card


def loaded_by_examples(card: ModelCard) -> str | None:
    """What the example of a card made here loads: an id, a name, or this package's default; None without an example."""
    found = _EXAMPLE.search(card.text)
    return found and (found[1] or SHIPPED_BUNDLE.name)


def recorded_training(bundle: Path) -> Mapping[str, Any]:
    """How a bundle says that it was trained; empty when it does not."""
    training = json.loads((bundle / CONFIG).read_text(encoding="utf-8")).get("training")
    return training if isinstance(training, dict) else {}


def recorded_files(training: Mapping[str, Any]) -> int | None:
    """How many files a model was trained on, where it was on files and says so."""
    files = (training.get("data") or {}).get("train", {}).get("files")
    return files if isinstance(files, int) else None


def _title(architecture: Architecture, training: Mapping[str, Any]) -> str:
    # With one exit all schemes are one.
    scheme = _SCHEMES.get(str(training.get("scheme"))) if len(architecture.exits) > 1 else None
    exits = f"exit{'s' if len(architecture.exits) > 1 else ''} {listing(architecture.exits)}"
    return ", ".join(filter(None, [f"Dynamic nsNet2: {architecture.family}", scheme, exits]))


def _what_it_is(architecture: Architecture, parameters: int) -> str:
    rate, exits = architecture.sample_rate, architecture.exits
    paper = f"nsNet2 ([arXiv 2308.16678](https://arxiv.org/abs/2308.16678), family `{architecture.family}`)"
    if len(exits) == 1:
        stops = f"with one exit, after stage {exits[0]} of {paper}."
    else:
        stages = f"{', '.join(map(str, exits[:-1]))} or {exits[-1]}"
        stops = f"that may stop after stage {stages} of {paper}: an early exit costs less and removes less noise."
    return (
        f"A noise suppressor for {rate / 1000:g} kHz speech {stops} {parameters:,} parameters, causal, "
        f"{1000 * architecture.window / rate:g} ms window, {1000 * architecture.hop / rate:g} ms hop."
    )


def _usage(bundle: Path, architecture: Architecture, given: Given) -> str:
    repo_id = given.repo_id
    is_shipped = bundle.resolve().parent == SHIPPED_MODELS.resolve()
    source, comment = "THIS_MODEL", "  # its id on the Hub, or a folder with these files"
    if repo_id is not None:
        source, comment = repo_id, ""
    elif is_shipped:
        source, comment = bundle.resolve().name, "  # this model comes with the package"
    load, option = f'("{source}")', f" --model {source}"
    if repo_id is None and bundle.resolve() == SHIPPED_BUNDLE.resolve():  # the default
        load, option = "()", ""
    exit = architecture.exits[len(architecture.exits) // 2]
    package = f"the Python package `{_PACKAGE}`"
    if given.package is not None:
        needs = f"Install {package}:\n\n```bash\npip install {shlex.quote(given.package)}\n```\n\nThen, in Python:"
    else:
        needs = f"With {package}{'' if is_shipped else ' (where to get it is not given)'}:"
    return (
        f"{needs}\n\n"
        "```python\nfrom speechbrain_dynsnet import EnhanceDynamic\n\n"
        f"enhancer = EnhanceDynamic.from_hparams{load}{comment}\n"
        f'enhancer.enhance_file("noisy.wav", exit={exit}, output_filename="clean.wav")\n```\n\n'
        "and on the command line:\n\n"
        f"```bash\ndynsnet enhance noisy.wav -o clean.wav{option} --exit {exit}\n```\n\n"
        "`hyperparams.yaml` runs code when SpeechBrain loads it: use models only from sources that you trust. The "
        "weights are safetensors, which run none."
    )


def _data(training: Mapping[str, Any], data: TrainingData | None, note: str) -> str:
    recorded = (training.get("data") or {}).get("train", {})
    parts = []
    if recorded:
        size = (
            f"{recorded['files']:,} files" if "files" in recorded else f"{recorded.get('pairs', 0):,} pairs in shards"
        )
        parts.append(f"The bundle records {size} for training (fingerprint `{recorded.get('sha256')}`).")
    if data is not None:
        parts.append(f"Sources and licences, from the manifest of the data:\n\n{to_markdown(data)}")
    if note:
        parts.append(note)
    if data is None and not note:
        parts.append("Which data these were, and under which licences, is not given.")
    return "\n\n".join(parts)


def _limits(
    architecture: Architecture, training: Mapping[str, Any], data: TrainingData | None, given: Given
) -> list[str]:
    return [
        f"It hears up to {architecture.sample_rate / 2000:g} kHz: in files of higher rates what is above follows the "
        "gain of the bands below.",
        "Languages of the training speech: "
        + (f"{', '.join(given.languages)}. How it does in others is not known." if given.languages else "not given."),
        "Types of noise in training: "
        + (f"{noise_types(data)}. Other noises may get through." if data else "not given."),
        "Targets kept their reverberation, so the model leaves it." if training.get("mixing") else "",
    ]


def _licence(licence: str | None) -> str:
    weights = f"Of the weights: `{licence}`." if licence else "Of the weights: not given."
    return f"{weights} The data have licences of their own; see above."


_CITATION = """\
Miccini, Zniber, Laroche, Piechowiak, Schoeberl, Pezzarossa, Karrakchou, Sparsø, Ghogho: "Dynamic nsNet2: Efficient Deep
Noise Suppression with Early Exiting", 2023, [arXiv 2308.16678](https://arxiv.org/abs/2308.16678).

```bibtex
@misc{miccini2023dynamic,
  title = {Dynamic nsNet2: Efficient Deep Noise Suppression with Early Exiting},
  author = {Miccini, Riccardo and Zniber, Alaa and Laroche, Clément and Piechowiak, Tobias and Schoeberl, Martin and
            Pezzarossa, Luca and Karrakchou, Ouassim and Sparsø, Jens and Ghogho, Mounir},
  year = {2023},
  eprint = {2308.16678},
  archivePrefix = {arXiv}
}
```"""
