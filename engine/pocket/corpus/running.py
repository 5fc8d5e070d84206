"""Running small functions that a model wrote: only plain expressions, only a few steps."""

from __future__ import annotations

import ast
import builtins
import copy
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

LARGEST_LINES = 2_000  # executed lines per run
LARGEST_SIZE = 10_000  # length of a text or list, and bits of a number
LARGEST_CONSTANT = 1_000
ANSWER = "<answer>"  # the file name under which answers are compiled
ALLOWED = tuple(
    getattr(ast, name)
    for name in (
        "Module FunctionDef arguments arg Return Assign AugAssign Expr For If Pass Break Continue "
        "IfExp BoolOp BinOp UnaryOp Compare Call keyword Constant Name List Tuple Set Dict Subscript Slice Attribute "
        "ListComp GeneratorExp SetComp DictComp comprehension Lambda JoinedStr FormattedValue Starred "
        "Add Sub Mult Div FloorDiv Mod Pow expr_context boolop unaryop cmpop"
    ).split()
)
METHODS = frozenset(
    "append count endswith index join lower pop replace reverse sort split startswith strip upper".split()
)
BUILTINS: dict[str, Any] = {
    name: getattr(builtins, name)
    for name in (
        "abs all any bool enumerate float int len list map max min range reversed round set sorted str sum tuple zip"
    ).split()
}


class Refused(Exception):
    """Code that is not run, or that failed or went on for too long; says why in a few words."""


def parse_restricted(code: str) -> ast.Module:
    """The code's tree, if it contains nothing but plain functions and expressions.

    Raises:
        Refused: Code that does not parse, or with imports, while-loops, private or unknown attributes, large
            constants, repeated powers and the like.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        raise Refused("does not parse") from error
    nodes = list(ast.walk(tree))
    for node in nodes:
        _refuse(node)
    if sum(isinstance(node, (ast.Mult, ast.Pow)) for node in nodes) > 3:
        raise Refused("too many multiplications")
    return tree


def _refuse(node: ast.AST) -> None:
    """Raise Refused for a node of the tree that is not allowed."""
    if not isinstance(node, ALLOWED):
        raise Refused(f"contains {type(node).__name__}")
    if isinstance(node, ast.Attribute) and node.attr not in METHODS:
        raise Refused("uses an unknown attribute")
    if isinstance(node, ast.Name) and node.id.startswith("_"):
        raise Refused("uses a private name")
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        raise Refused("uses a decorator")
    if isinstance(node, ast.Constant) and _is_large(node.value):
        raise Refused("uses a large constant")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and not _is_small_power(node.right):
        raise Refused("uses a power that is not a small constant")


def _is_large(value: object) -> bool:
    return isinstance(value, (int, float, complex)) and abs(value) > LARGEST_CONSTANT


def _is_small_power(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in range(10)


@contextmanager
def limited() -> Iterator[None]:
    """Stop what runs inside after `LARGEST_LINES` lines, or where a variable grows beyond `LARGEST_SIZE`."""
    lines = 0

    def watch(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        nonlocal lines
        if frame.f_code.co_filename != ANSWER:
            return None
        lines += 1
        if lines > LARGEST_LINES or any(_is_huge(value) for value in frame.f_locals.values()):
            raise Refused("runs for too long")
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def _is_huge(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() > LARGEST_SIZE
    return isinstance(value, (str, list, tuple, set, dict)) and len(value) > LARGEST_SIZE


def run_function(code: str, inputs: Sequence[tuple[object, ...]]) -> list[object]:
    """The results of the last function that the code defines, for each tuple of arguments.

    The code's top level may define functions and nothing else; the arguments are copied first.

    Raises:
        Refused: Code that is not allowed, defines no function, fails or runs for too long.
    """
    tree = parse_restricted(code)
    if not tree.body or not all(isinstance(part, ast.FunctionDef) for part in tree.body):
        raise Refused("is not a function")
    last = tree.body[-1]
    assert isinstance(last, ast.FunctionDef)
    namespace: dict[str, Any] = {"__builtins__": BUILTINS}
    try:
        with limited():
            exec(compile(tree, ANSWER, "exec"), namespace)
            return [namespace[last.name](*copy.deepcopy(arguments)) for arguments in inputs]
    except Refused:
        raise
    except Exception as error:  # whatever the model's code raises is an answer's fault, and is told as such
        raise Refused(f"fails with {type(error).__name__}") from error


def same(got: object, expected: object) -> bool:
    """Whether two results are equal: numbers within rounding, truth values only with truth values."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, (int, float)) and isinstance(expected, (int, float)):
        return math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-9)
    return type(got) is type(expected) and got == expected
