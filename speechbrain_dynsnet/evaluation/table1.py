"""What the families cost at each exit, as Table 1 of the paper has it."""

from __future__ import annotations

from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.evaluation.configurations import PAPER_CONFIGURATIONS
from speechbrain_dynsnet.model.architecture import LAST_STAGE
from speechbrain_dynsnet.model.network import make_network


def table1_to_markdown() -> str:
    """Parameters of each family, and millions of multiply-accumulates a second up to each exit (arXiv 2308.16678).

    It follows from the architecture, whatever was trained. In parentheses the shares of nsNet2's.
    """
    exits_of = {one.family: one.exits for one in sorted(PAPER_CONFIGURATIONS, key=lambda one: len(one.exits))}
    headings = ["model", "parameters", *(f"exit {exit}" for exit in range(LAST_STAGE + 1))]
    lines = ["**Millions of MACs a second**", "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for family, exits in exits_of.items():
        costs = {cost.exit: cost for cost in exit_costs(make_network(family, exits))}
        shown = [
            f"{cost.macs_per_second / 1e6:.1f} ({cost.share_of_baseline:.1%})" if (cost := costs.get(exit)) else ""
            for exit in range(LAST_STAGE + 1)
        ]
        lines.append(f"| {' | '.join([family, f'{costs[LAST_STAGE].parameters_in_all:,}', *shown])} |")
    return "\n".join(lines)
