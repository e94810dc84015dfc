"""A family of your own, `late`: call it as train.py, with --family late.

It trains, denoises a recording at two exits, and exports the model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import speechbrain as sb

from speechbrain_dynsnet import EnhanceDynamic, load_bundle
from speechbrain_dynsnet.errors import one_line_errors
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.model.architecture import Architecture, register_family
from speechbrain_dynsnet.model.layers import make_layer
from speechbrain_dynsnet.model.stages import SplitStage
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.training.progress import log_to_terminal
from speechbrain_dynsnet.training.recipe import load_recipe
from speechbrain_dynsnet.training.run import train

KINDS = ("fc", "fc", "gru", "gru", "fc", "fc")  # concat: a GRU in stages 1 and 2
NOISY = Path(__file__).with_name("noisy.flac")


def late_stage(architecture: Architecture, index: int) -> SplitStage:
    """Stage `index` of `late`: as in `concat`, but for the kind of its layers."""
    inputs = architecture.bins + (architecture.feature_size if index else 0)
    mask_layer = make_layer(KINDS[index], inputs, architecture.bins)
    if index == architecture.deepest:
        return SplitStage(mask_layer, None, skip=0)
    feature_layer = make_layer(KINDS[index], inputs, architecture.feature_size)
    return SplitStage(mask_layer, feature_layer, skip=0)


register_family("late", late_stage)


def main() -> None:
    """Train, denoise at the first two exits, export."""
    yaml_path, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    log_to_terminal()
    with one_line_errors():
        recipe = load_recipe(yaml_path, overrides)
        bundle = train(recipe, run_opts, yaml_path, overrides)
        enhancer = EnhanceDynamic.from_hparams(bundle)
        for cost in exit_costs(enhancer.network)[:2]:
            output = bundle.parent / f"{NOISY.stem}_exit{cost.exit}.flac"
            enhancer.enhance_file(NOISY, exit=cost.exit, output_filename=output)
            print(f"{output}: {cost.share_of_baseline:.1%} of nsNet2's MACs")
        print(export_onnx(load_bundle(bundle), bundle.parent / "late.onnx"))


if __name__ == "__main__":
    main()
