"""The import order between stages. To change the architecture, change `MAY_IMPORT`."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "robaudit"

LEAVES = {
    "errors", "records", "retrofit_records", "files", "tally", "progress", "intervals", "inert", "significance",
    "memory", "typed", "float32", "alike", "given",
}  # fmt: skip
MEASURING = {"front", "data", "load", "attack"}

MAY_IMPORT: dict[str, set[str]] = {
    # Leaves: they know at most the errors, and records.
    "errors": set(),
    "progress": set(),
    "intervals": set(),
    "inert": set(),
    "typed": set(),
    "memory": set(),
    "float32": set(),
    "significance": set(),
    "files": {"errors"},
    "given": {"errors"},
    "records": {"errors"},
    "retrofit_records": {"records"},
    "tally": {"records"},
    "alike": {"records"},
    # Modules and functions that need only torch.
    "front": set(),
    "texture": set(),
    # What is brought: images, and models.
    "data": LEAVES,
    "load": LEAVES | {"front", "data"},
    # A classifier as a file for others.
    "deploy": LEAVES | {"front", "data", "load"},
    "timm": LEAVES | {"load"},
    # The audit.
    "attack": LEAVES | {"front", "data", "load"},
    "preprocessing": LEAVES | MEASURING,
    "fleet": LEAVES | MEASURING,
    "checks": LEAVES | MEASURING,
    "audit": LEAVES | MEASURING | {"preprocessing", "fleet", "checks"},
    # The retrofit closes the loop through files on disk: it never imports the audit.
    "retrofit": LEAVES | MEASURING | {"texture", "preprocessing", "fleet"},
    # Pages and gates read records: they need no torch.
    "report": LEAVES,
    "gates": LEAVES,
    # The whole job brings the stages together, without any command line.
    "job": LEAVES | MEASURING | {"audit", "retrofit", "report"},
}
ON_TOP = {"cli", "__init__", "__main__"}
"""No stage imports them."""

FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


MODULES = {module_name(file): file for file in FILES}


def stage(module: str) -> str:
    """Return the folder or file right below the package."""
    return module.split(".")[1]


def imports(file: Path) -> Iterator[str]:
    """Yield every module of robaudit that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute, so that this test can read them"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ({name for name in names if name in MODULES} | {node.module or ""}) & MODULES.keys()


def importers(of: str) -> list[str]:
    return [module for module, file in MODULES.items() if stage(module) == of]


def test_every_stage_has_its_place_in_the_order() -> None:
    assert {stage(module) for module in MODULES} <= MAY_IMPORT.keys() | ON_TOP


def test_the_order_is_an_order() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_stage_imports_only_earlier_ones(name: str) -> None:
    found = {
        (module, imported)
        for module in importers(name)
        for imported in imports(MODULES[module])
        if stage(imported) not in MAY_IMPORT[name] | {name}
    }
    assert found == set()


def test_no_file_imports_itself_in_a_circle() -> None:
    graph = {module: set(imports(file)) - {module} for module, file in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_inside_functions_are_seen(tmp_path: Path) -> None:
    """The test above would be easy to fool otherwise."""
    file = tmp_path / "late.py"
    file.write_text(
        "def f():\n    from robaudit.gates.gate import gate\n    import robaudit.errors\n\n"
        "class A:\n    from robaudit import records\n"
    )
    assert set(imports(file)) == {"robaudit.gates.gate", "robaudit.errors", "robaudit.records"}
