"""The layers: a module imports only from layers to its left; plugins of one folder never import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    {"errors"},
    {"xp"},
    {"scaled", "fingerprint"},
    {"protocols"},
    {"ad"},
    {"measures", "data"},
    {"tasks", "optimizers", "objectives"},
    {"kernels"},
    {"unroll"},
    {"estimators"},
    {"api", "meta_train"},
    {"training"},
    {"cli"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
THEORY = ["numbers", "quadratic", "least_squares", "sgd"]
PLUGIN_FOLDERS = {"tasks", "optimizers", "objectives", "kernels", "estimators"}
SOURCES = sorted(p for p in (ROOT / "metagrad").rglob("*.py") if p != ROOT / "metagrad" / "__init__.py")


def imported_modules(path: Path, everywhere: bool = True) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(name: str) -> str | None:
    pieces = name.split(".")
    return pieces[1] if pieces[0] == "metagrad" and len(pieces) > 1 else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_to_the_left(path):
    mine = path.relative_to(ROOT / "metagrad").parts[0].removesuffix(".py")
    parts = {part_of(name) for name in imported_modules(path)} - {None}
    if mine == "theory":
        assert parts <= {"theory"}
        return
    allowed = {name for name, rank in RANK.items() if rank < RANK[mine]} | {mine}
    if path.name == "closed_form.py":
        allowed |= {"theory"}  # the one place where theory meets engine
    assert parts <= allowed


def modules_of_theory() -> dict[str, Path]:
    paths = (ROOT / "metagrad" / "theory").rglob("*.py")
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


def imports_in_theory() -> dict[str, set[str]]:
    """Which modules of the theory each of them imports; of `from package import name`, `name` where it is a module."""
    modules = modules_of_theory()
    named = {module: imported_modules(path) for module, path in modules.items()}
    return {
        module: {n if n in modules else n.rpartition(".")[0] for n in names if n.startswith("metagrad.theory.")}
        for module, names in named.items()
    }


def test_the_theory_lies_in_its_folders():
    folders = {".".join(module.split(".")[2:3]) for module in modules_of_theory()}
    assert folders == {"", *THEORY}


@pytest.mark.parametrize("folder", THEORY)
def test_a_folder_of_the_theory_imports_those_before_it(folder):
    allowed = THEORY[: THEORY.index(folder) + 1]
    for module, imported in imports_in_theory().items():
        if module.split(".")[2:3] == [folder]:
            others = {n for n in imported if (n.split(".")[2:3] or [""])[0] not in allowed}
            assert not others, f"{module} imports {others}"


def test_the_theory_has_no_import_circle():
    left = imports_in_theory()
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert not left


@pytest.mark.parametrize("folder", THEORY)
def test_a_folder_of_the_theory_says_what_is_in_it(folder):
    paths = (ROOT / "metagrad" / "theory" / folder).glob("[!_]*.py")
    doc = ast.get_docstring(ast.parse((ROOT / "metagrad" / "theory" / folder / "__init__.py").read_text("utf-8")))
    assert not {p.stem for p in paths if f"| `{p.stem}` " not in (doc or "")}


@pytest.mark.parametrize("folder", sorted(PLUGIN_FOLDERS))
def test_plugins_do_not_import_each_other(folder):
    here = ROOT / "metagrad" / folder
    for path in here.rglob("*.py"):
        plugin = path.relative_to(here).parts[0].removesuffix(".py")
        if plugin == "__init__":
            continue
        named = {n.removeprefix(f"metagrad.{folder}.") for n in imported_modules(path) if part_of(n) == folder}
        # a private module is a part of the plugin that imports it, and a folder is one plugin
        siblings = {n for n in named if not n.startswith("_") and n.split(".")[0] != plugin}
        assert not siblings, f"{path.relative_to(here)} imports {siblings}"


def test_the_array_modules_are_named_only_where_they_may_be():
    for path in SOURCES:
        top = path.relative_to(ROOT / "metagrad").parts[0].removesuffix(".py")
        if top not in {"xp", "kernels"}:
            assert not {n for n in imported_modules(path) if n.split(".")[0] == "cupy"}, path


def test_figures_import_neither_the_engine_nor_the_analysis():
    for path in (ROOT / "paper_figs").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported_modules(path)}
        assert not tops & {"metagrad", "analysis"}, path


def test_importing_metagrad_is_light():
    code = "import sys, metagrad; print([m for m in ('cupy', 'matplotlib', 'sympy', 'scipy') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_nothing_is_unpickled():
    for folder in ("metagrad", "analysis", "paper_figs", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            assert "allow_pickle=True" not in source, path
            assert not {n.split(".")[0] for n in imported_modules(path)} & {"pickle", "dill", "joblib"}, path


def test_modules_keep_to_one_purpose():
    long = {p: n for p in SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
