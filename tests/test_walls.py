"""The rooms of the package import each other one way only, and the door costs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import speechbrain_dynsnet

PACKAGE = "speechbrain_dynsnet"
ROOT = Path(speechbrain_dynsnet.__file__).parent
ROOMS: dict[str, set[str]] = {
    "audio": set(),
    "model": {"audio"},
    "data": {"audio"},
    "training": {"model", "data", "audio"},
    "evaluation": {"model", "audio", "runtime"},
    "inference": {"model", "audio"},
    "runtime": {"audio"},
    "hub": {"model", "evaluation"},
    "cli": {"audio", "model", "data", "training", "evaluation", "inference", "runtime", "hub"},
}
EXCEPTIONS = {"runtime.export": {"model"}}  # a package whose modules read torch models
FOR_ALL = {"errors", "lazy", "processes", "text", "writing"}
DOORS = {""}  # the package's own public names may come from anywhere
HEAVY = ("torch", "torchaudio", "speechbrain")


def module_of(path: Path) -> str:
    """`audio.files`, `audio` for its __init__.py, and nothing for the package's own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(module: str, source: str, is_package: bool = False) -> set[str]:
    """Absolute names of everything that `source`, standing at `module`, imports at any depth.

    `from a import b` gives `a` and `a.b`, since b may be a module.
    """
    package = [PACKAGE, *filter(None, module.split("."))]
    if not is_package:
        package.pop()
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return names


def rooms_of(names: set[str]) -> set[str]:
    """The rooms (and single modules) of the package among imported names."""
    inside = (name.split(".") for name in names)
    return {parts[1] for parts in inside if parts[0] == PACKAGE and len(parts) > 1}


def exceptions_for(module: str) -> set[str]:
    """What a module may import besides, or the package that it is in."""
    return set().union(*(rooms for name, rooms in EXCEPTIONS.items() if f"{module}.".startswith(f"{name}.")))


def allowed_for(module: str) -> set[str]:
    room = module.split(".")[0]
    return ROOMS[room] | exceptions_for(module) | FOR_ALL | {room, "__version__"}


@pytest.mark.parametrize("module", [name for name in MODULES if name not in DOORS | FOR_ALL])
def test_imports_only_what_its_room_may(module: str) -> None:
    path = MODULES[module]
    imported = rooms_of(imports_of(module, path.read_text(), path.name == "__init__.py"))
    assert module.split(".")[0] in ROOMS, f"{path.name} is in no room of the house"
    forbidden = imported - allowed_for(module)
    assert not forbidden, f"{module} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("module", sorted(FOR_ALL))
def test_what_all_may_import_imports_no_room(module: str) -> None:
    assert rooms_of(imports_of(module, MODULES[module].read_text())) <= {"errors"}


def test_only_model_rooms_read_torch() -> None:
    """`audio`, and `runtime` but for its export, run where torch is not installed."""
    for module, path in MODULES.items():
        if module.split(".")[0] in ("audio", "runtime") and not exceptions_for(module):
            names = imports_of(module, path.read_text(), path.name == "__init__.py")
            heavy = {name for name in names if name.split(".")[0] in HEAVY}
            assert not heavy, f"{module} may not import {sorted(heavy)}"


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import speechbrain_dynsnet.training.brain", {"training"}),
        ("from speechbrain_dynsnet import training", {"training"}),
        ("from ..training.brain import DynBrain", {"training"}),
        ("from .. import training", {"training"}),
        ("def late():\n    from speechbrain_dynsnet.hub import push", {"hub"}),
        ("from . import files", {"audio"}),
        ("import numpy as np", set()),
    ],
)
def test_every_way_of_importing_is_seen(source: str, rooms: set[str]) -> None:
    assert rooms_of(imports_of("audio.frames", source)) == rooms


@pytest.mark.parametrize("module", [PACKAGE, f"{PACKAGE}.audio", f"{PACKAGE}.errors"])
def test_importing_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{*{HEAVY}}} & sys.modules.keys()))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert output.split() == []


def test_public_names_are_the_objects_of_their_rooms() -> None:
    from speechbrain_dynsnet.errors import InputError
    from speechbrain_dynsnet.model.network import DynamicNsNet2

    assert speechbrain_dynsnet.DynamicNsNet2 is DynamicNsNet2
    assert speechbrain_dynsnet.InputError is InputError
    for name in speechbrain_dynsnet.__all__:
        assert getattr(speechbrain_dynsnet, name).__name__ == name
    assert set(speechbrain_dynsnet.__all__) <= set(dir(speechbrain_dynsnet))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="DynamicNsNet3"):
        _ = speechbrain_dynsnet.DynamicNsNet3
