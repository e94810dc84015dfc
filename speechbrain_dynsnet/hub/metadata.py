"""The front matter of a card, as `huggingface_hub` defines it: what the Hub searches and shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCardData

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.complexity import ExitCost
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.hub.measured import SHOWN, Results, exit_system
from speechbrain_dynsnet.hub.repo_ids import check_hub_name

TASK = "audio-to-audio"
_TAGS = [TASK, "speech-enhancement", "noise-suppression", "early-exit", "nsnet2", "PyTorch", "speechbrain"]
_TYPES = {  # names as other cards have them; the two DNSMOS scales are told apart by the metric's name
    "pesq_wb": "pesq",
    "p808_mos": "dnsmos",
    "ovrl_mos": "dnsmos",
    "stoi": "stoi",
    "si_sdr_db": "si-sdr",
}
_LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual")  # ISO 639-1 to 639-3
_LICENCE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_PAPER = "arxiv:2308.16678"
_DECIMALS = 3


def make_metadata(
    name: str,
    results: Results,
    costs: Sequence[ExitCost],
    languages: Sequence[str] = (),
    licence: str | None = None,
    datasets: Sequence[str] = (),
) -> ModelCardData:
    """The front matter, with the figures of each exit as `model-index`.

    Arguments
    ---------
    name : str
        The model's, for `model-index`.
    results : Results
        Its scores.
    costs : sequence of ExitCost
        Of its exits.
    languages : sequence of str
        Of the training speech: ISO 639 codes.
    licence : str or None
        Of the weights: the Hub's identifier.
    datasets : sequence of str
        Ids on the Hub.

    Returns
    -------
    ModelCardData
        Without what was not given.

    Raises
    ------
    InputError
        For a language, licence or data set that is none by its form.
    """
    for language in languages:
        if not _LANGUAGE.fullmatch(language):
            raise InputError(f"no language {language!r}: give ISO 639 codes, such as en,de")
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise InputError(f"no licence {licence!r}: give it as the Hub calls it, such as apache-2.0, or other")
    for dataset in datasets:
        check_hub_name(dataset, "data set")
    figures = _figures(results, costs)
    return ModelCardData(
        language=list(languages) or None,
        license=licence,
        library_name="speechbrain",
        pipeline_tag=TASK,
        tags=[*_TAGS, _PAPER],
        datasets=list(datasets) or None,
        metrics=list(dict.fromkeys(figure.metric_type for figure in figures)),
        model_name=name,
        eval_results=figures,
    )


def _figures(results: Results, costs: Sequence[ExitCost]) -> list[EvalResult]:
    name = str(results.test_set.get("name") or "not named")
    facts = {"clips": results.clips} | ({"sha256": digest} if (digest := results.test_set.get("sha256")) else {})
    return [
        EvalResult(
            task_type=TASK,
            task_name="Speech enhancement",
            dataset_type=name,
            dataset_name=name,
            dataset_args=facts,
            metric_type=_TYPES[metric],
            metric_name=f"{METRICS[metric]}, exit {cost.exit}",
            metric_config=exit_system(cost.exit),
            metric_value=round(value, _DECIMALS),
        )
        for cost in costs
        for metric in results.metrics(SHOWN)
        if (value := results.value(exit_system(cost.exit), metric)) is not None
    ]
