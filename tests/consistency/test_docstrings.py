"""Public docstrings are complete: all arguments by their names, what is returned, and InputError where it is raised.

One line serves where a signature is short and speaks for itself; who documents one argument documents all. The examples
in docstrings run with the other tests, as doctests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import speechbrain_dynsnet

ROOT = Path(speechbrain_dynsnet.__file__).parent
MOST_IN_A_LINE = 4  # arguments of a function that one line may serve
SECTIONS = ["Arguments", "Attributes", "Yields", "Returns", "Raises", "Example"]  # in this order
HEADING = re.compile(r"^(\w+)\n-{3,}$", re.MULTILINE)
COVERED = ("overload", "setter")  # decorators of functions whose docstring is another's
Node = ast.FunctionDef | ast.ClassDef


def faults(source: str) -> Iterator[str]:
    """What the docstrings of a module lack, a line each."""
    tree = ast.parse(source)
    if not ast.get_docstring(tree):
        yield "the module has no docstring"
    yield from faults_within(tree, "")


def faults_within(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in parent.body:
        if not isinstance(node, Node) or node.name.startswith("_") or has_decorator(node, *COVERED):
            continue
        name = f"{prefix}{node.name}"
        text = ast.get_docstring(node)
        yield from (f"{name}: {fault}" for fault in (faults_of(node, text, parent) if text else ["has no docstring"]))
        if isinstance(node, ast.ClassDef):
            yield from faults_within(node, f"{name}.")


def faults_of(node: Node, text: str, parent: ast.AST) -> Iterator[str]:
    sections = split_sections(text)
    order = [SECTIONS.index(name) if name in SECTIONS else -1 for name in sections]
    if order != sorted(order) or -1 in order:
        yield f"has the sections {', '.join(sections)}: these are {', '.join(SECTIONS)}, in this order"
    if "Example" in sections and ">>>" not in sections["Example"]:
        yield "has an example that nothing runs"
    own = arguments_of(node, isinstance(parent, ast.ClassDef))
    if "Arguments" in sections:
        if (documented := documented_names(sections["Arguments"])) != own:
            yield f"documents the arguments {documented}, and takes {own}"
        if returns_something(node) and not {"Returns", "Yields"} & sections.keys():
            yield "documents arguments, and not what it returns"
    elif isinstance(node, ast.FunctionDef) and not is_command(node) and not overrides_a_hook(parent):
        if len(own) > MOST_IN_A_LINE and not re.search(r"`[\w.]+`", text):
            yield f"takes {len(own)} arguments: document them, or name in backticks what does"
    if isinstance(node, ast.FunctionDef) and raises_input_error(node) and not is_command(node):
        where = sections["Raises"] if "Raises" in sections else text
        if "InputError" not in where:
            yield "raises InputError, and does not say so"


def split_sections(text: str) -> dict[str, str]:
    """From heading to what stands below it."""
    _, *parts = HEADING.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def documented_names(section: str) -> list[str]:
    """The names before ` : type` on the lines that are not indented, of which several may share one."""
    lines = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for line in lines for name in line.partition(" : ")[0].split(",")]


def arguments_of(node: Node, is_method: bool) -> list[str]:
    """In the order of the signature; a class takes those of its constructor, a dataclass its fields."""
    if isinstance(node, ast.ClassDef):
        for one in node.body:
            if isinstance(one, ast.FunctionDef) and one.name == "__init__":
                return arguments_of(one, is_method=True)
        if not has_decorator(node, "dataclass"):
            return []
        fields = (one.target for one in node.body if isinstance(one, ast.AnnAssign))
        return [field.id for field in fields if isinstance(field, ast.Name)]
    given = node.args
    listed = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    names = [one.arg for one in listed if one is not None]
    return names[1:] if is_method and not has_decorator(node, "staticmethod") else names


def returns_something(node: Node) -> bool:
    return isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) != "None"


def raises_input_error(node: ast.FunctionDef) -> bool:
    """In its own body or a function inside."""
    raised = (one.exc for one in ast.walk(node) if isinstance(one, ast.Raise) and one.exc is not None)
    return any(ast.unparse(error).startswith("InputError") for error in raised)


def is_command(node: ast.FunctionDef) -> bool:
    """The docstring of a command is its help, and each option has its own."""
    return has_decorator(node, "command")


def overrides_a_hook(parent: ast.AST) -> bool:
    """Methods of SpeechBrain's Brain have its signatures."""
    return isinstance(parent, ast.ClassDef) and any(ast.unparse(base) == "sb.Brain" for base in parent.bases)


def has_decorator(node: Node, *names: str) -> bool:
    decorators: Sequence[ast.expr] = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    return any(ast.unparse(one).rpartition(".")[2] in names for one in decorators)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_complete(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"))) == []


TAKES_Y = """A.

    Arguments
    ---------
    y : int
        Not there.
    """
WHOLE = '''"""A module."""

def good(a: int, b: int, *rest: int, c: int = 1, **more: int) -> int:
    """Add.

    Arguments
    ---------
    a, b : int
        Two.
    *rest : int
        More.
    c : int
        One.
    **more : int
        Any.

    Returns
    -------
    int
        The sum.

    Raises
    ------
    InputError
        For odd ones.

    Example
    -------
    >>> good(1, 1)
    3
    """
    raise InputError("odd")
'''


def test_a_whole_docstring_has_no_fault() -> None:
    assert list(faults(WHOLE)) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('"""A module."""', "", "the module has no docstring"),
        ("a, b : int", "b, a : int", "documents the arguments ['b', 'a', 'rest', 'c', 'more']"),
        ("    c : int\n        One.\n", "", "documents the arguments ['a', 'b', 'rest', 'more']"),
        ("Returns\n    -------", "Gives\n    -----", "has the sections Arguments, Gives"),
        ("    Returns\n    -------\n    int\n        The sum.\n", "", "not what it returns"),
        ("    InputError\n", "    ValueError\n", "does not say so"),
        (">>> good", "good", "an example that nothing runs"),
        ("Arguments\n    ---------\n", "", "takes 5 arguments"),
        ('"""Add.', 'b"""Add.', "has no docstring"),
    ],
)
def test_each_fault_is_found(before: str, after: str, fault: str) -> None:
    assert before in WHOLE
    found = list(faults(WHOLE.replace(before, after, 1)))
    assert any(fault in one for one in found), found


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("class A:\n    def f(self): pass", "A.f: has no docstring"),
        (f'@dataclass\nclass A:\n    """{TAKES_Y}"""\n    x: int', "takes ['x']"),
        (f'class A:\n    """{TAKES_Y}"""\n    def __init__(self, x): pass', "takes ['x']"),
        ('def f(x):\n    """F."""\n    if x:\n        raise InputError("x")', "raises InputError"),
    ],
)
def test_classes_and_one_liners_are_held_too(source: str, fault: str) -> None:
    assert any(fault in one for one in faults(source))


def test_what_is_private_overloaded_or_set_is_left_alone() -> None:
    functions = "def _f(): pass\n@overload\ndef f(): ..."
    assert list(faults(f'"""M."""\n{functions}\nclass A:\n    """A."""\n    @x.setter\n    def x(self, v): pass')) == []
