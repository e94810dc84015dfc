"""Public nsNet2 weights load into the baseline, compute what nsNet2 computes, and denoise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.data.trial_noise import make_noise
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.features import istft, log_power, stft
from speechbrain_dynsnet.model.importing import import_nsnet2
from tests.model.reference import relu, sigmoid
