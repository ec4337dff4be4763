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
    {"scaled", "files", "fingerprint"},
    {"protocols"},
    {"ad"},
    {"parts"},
    {"views"},
    {"measures", "transforms", "data"},
    {"tasks", "optimizers", "objectives"},
    {"system"},
    {"kernels"},
    {"unroll"},
    {"estimators"},
    {"api"},
    {"training"},
    {"cli"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
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


def test_no_module_imports_itself_in_a_circle():
    """Imports for types count too: whoever reads one file of a circle has to read them all."""
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in SOURCES if p.name != "__init__.py"}
    graph = {
        name: {n for i in imported_modules(path) for n in (i, i.rpartition(".")[0]) if n in modules}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"circle: {' -> '.join((*above[above.index(name) :], name))}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("folder", sorted(PLUGIN_FOLDERS))
def test_plugins_do_not_import_each_other(folder):
    for path in (ROOT / "metagrad" / folder).glob("*.py"):
        if path.name == "__init__.py":
            continue
        # a private module is a part of the plugin that imports it
        prefixes = (f"metagrad.{folder}.", f"metagrad.{folder}._")
        named = {n.replace(f"metagrad.{folder}._", "") for n in imported_modules(path)}
        siblings = {n for n in named if n.startswith(prefixes[0])}
        assert not siblings, f"{path.name} imports {siblings}"


def test_the_array_modules_are_named_only_where_they_may_be():
    for path in SOURCES:
        top = path.relative_to(ROOT / "metagrad").parts[0].removesuffix(".py")
        if top not in {"xp", "kernels"}:
            assert not {n for n in imported_modules(path) if n.split(".")[0] == "cupy"}, path


def test_figures_import_neither_the_engine_nor_the_analysis():
    """What writes files is all that they share with either: a figure shows saved numbers, and computes none."""
    for path in (ROOT / "paper_figs").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported_modules(path) - {"metagrad.files"}}
        assert not tops & {"metagrad", "analysis"}, path


def test_files_are_written_in_one_place():
    """Elsewhere there is nothing that could leave half a file, or a second way to replace one."""
    allowed = {ROOT / "metagrad" / "files.py", ROOT / "benchmarks" / "memory.py"}  # a switch of Linux, no file
    writers = {"write_bytes", "write_text", "savez", "savez_compressed", "fsync", "mkstemp", "NamedTemporaryFile"}
    for folder in ("metagrad", "analysis", "paper_figs", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & writers
            assert not called or path in allowed, f"{path}: {called}"


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
