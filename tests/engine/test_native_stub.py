"""The description of the compiled module and the module itself name the same things."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import parley
from parley.engine.counters import COUNTERS, GAUGES
from tests.engine.conftest import CONFIG, HAS_NATIVE

pytestmark = [pytest.mark.native, pytest.mark.skipif(not HAS_NATIVE, reason="the native module is not built")]

STUB = ast.parse((Path(parley.__file__).parent / "_native.pyi").read_text())
CLASSES = [node for node in STUB.body if isinstance(node, ast.ClassDef)]


@pytest.fixture
def native() -> ModuleType:
    return importlib.import_module("parley._native")


def test_the_stub_names_every_name_of_the_module_and_no_other(native: ModuleType) -> None:
    described = {node.name for node in CLASSES} | {
        node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }

    assert {name for name in vars(native) if name == "__version__" or not name.startswith("_")} == described


@pytest.mark.parametrize("described", CLASSES, ids=lambda node: node.name)
def test_the_stub_names_every_method_of_a_class_and_no_other(native: ModuleType, described: ast.ClassDef) -> None:
    stubbed = {node.name for node in described.body if isinstance(node, ast.FunctionDef)} - {"__init__"}

    assert {name for name in vars(getattr(native, described.name)) if not name.startswith("_")} == stubbed


@pytest.mark.parametrize("described", CLASSES, ids=lambda node: node.name)
def test_every_class_of_the_stub_is_documented(described: ast.ClassDef) -> None:
    assert ast.get_docstring(described)


def test_the_version_is_the_packages(native: ModuleType) -> None:
    assert native.__version__ == parley.__version__


def test_every_counter_has_its_meaning_written_down(native: ModuleType) -> None:
    engine = native.Engine(CONFIG)
    names = set(engine.counters())
    engine.close()

    assert names == set(COUNTERS) | set(GAUGES)
