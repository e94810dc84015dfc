"""The page of `dynsnet enhance --report`: refused before any work where it cannot be, written when all is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_dynsnet.audio.enhancement import FileFacts, MaskModel, Settings
from speechbrain_dynsnet.cli.enhance_table import Outcome
from speechbrain_dynsnet.errors import InputError

Result = tuple[Path, Path, FileFacts, float]
"""The file read, the one written, what is known of both, and the seconds that it took."""


@dataclass(frozen=True)
class PageRequest:
    """What a user asked for.

    Arguments
    ---------
    path : Path
        The page.
    dnsmos : bool
        With scores.
    jobs : int
        Processes to score in.

    Raises
    ------
    InputError
        When it cannot be written, or a package for it is not installed.
    """

    path: Path
    dnsmos: bool = False
    jobs: int = 1

    def __post_init__(self) -> None:
        try:
            from speechbrain_dynsnet.evaluation.html_report import check_report

            if self.dnsmos:
                import speechbrain_dynsnet.evaluation.excerpt_scores  # noqa: F401
        except ModuleNotFoundError as error:
            raise InputError(
                f"{error.name} is not installed: --report needs the package with its [evaluation] extra"
            ) from error
        check_report(self.path)

    def write(self, results: Sequence[Result], settings: Settings, model: MaskModel, model_path: Path) -> None:
        """The page about results; none when there are none, which the command has said by then."""
        from speechbrain_dynsnet.evaluation.html_report import ReportedFile, masks_of_model, write_report

        if results:
            write_report(
                [ReportedFile(*result) for result in results],
                self.path,
                model_name="/".join(model_path.parts[-2:]),
                settings=settings,
                dnsmos=self.dnsmos,
                masks=masks_of_model(model, settings),
                jobs=self.jobs,
            )


def results_of(outcome: Outcome, folder: Path) -> list[Result]:
    """All that succeeded, in this run or before, by the names of the results, which are seen from a folder."""
    rows = sorted((*outcome.rows, *outcome.skipped), key=lambda row: row.target)
    return [(Path(row.source), folder / row.target, FileFacts(**row.facts), row.took_s) for row in rows if row.facts]
