"""Train a model: python train.py hparams/concat_joint.yaml [--data_folder DIR] [--exits "[0,1,2,3,4,5]"]."""

import sys

import speechbrain as sb
from speechbrain.utils.distributed import ddp_init_group

from speechbrain_dynsnet.errors import one_line_errors
from speechbrain_dynsnet.training.progress import log_to_terminal
from speechbrain_dynsnet.training.recipe import load_recipe
from speechbrain_dynsnet.training.run import train


def main() -> None:
    """Parse, build, hand over."""
    yaml_path, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    ddp_init_group(run_opts)
    log_to_terminal()
    try:
        with one_line_errors():
            train(load_recipe(yaml_path, overrides), run_opts, yaml_path, overrides)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
