"""The layers: a module imports only from layers to its left; plugins of one folder never import each other."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    {"errors"},
    {"checks"},
    {"xp", "archives", "tables", "llvm"},
    {"scaled", "files", "fingerprint", "guard", "reads"},
    {"summary"},
    {"protocols"},
    {"ad"},
    {"parts"},
    {"views"},
    {"measures", "transforms", "data"},
    {"tasks", "optimizers", "objectives"},
    {"system"},
    {"kernels", "replay"},
    {"unroll"},
    {"estimators"},
    {"api", "checkup"},
    {"diagnosis"},
    {"training"},
    {"stepper", "testing"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
THEORY = ["numbers", "quadratic", "least_squares", "sgd", "schedules", "starts", "no_free_lunch", "momentum"]
PLUGIN_FOLDERS = {"tasks", "optimizers", "objectives", "kernels", "estimators"}
SOURCES = sorted(p for p in (ROOT / "metagrad").rglob("*.py") if p != ROOT / "metagrad" / "__init__.py")
MODULES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in SOURCES}
WITH_THEORY = {"diagnosis/known.py"}  # beside the closed forms: the places where theory meets engine
PARTS = {"Task", "Rule", "Objective"}
UNLISTED = {"init_meta", "meta_like", "Phi", "rule"}  # optional members of the rules that ship, no part of a protocol


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


def modules_in(names: set[str]) -> set[str]:
    """Return the modules of metagrad among imported names; of `from package import name`, `name` where it is one."""
    return {n if n in MODULES else n.rpartition(".")[0] for n in names} & MODULES.keys()


IMPORTS = {module: modules_in(imported_modules(path)) for module, path in MODULES.items()}


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
    if path.parent.name == "closed_form" or path.relative_to(ROOT / "metagrad").as_posix() in WITH_THEORY:
        allowed |= {"theory"}
    assert parts <= allowed


def test_no_module_imports_itself_in_a_circle():
    """Imports for types count too: whoever reads one file of a circle has to read them all."""
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"circle: {' -> '.join((*above[above.index(name) :], name))}"
        if name not in done:
            for other in sorted(IMPORTS[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in IMPORTS:
        visit(name, ())


def test_the_theory_lies_in_its_folders():
    folders = {".".join(module.split(".")[2:3]) for module in MODULES if part_of(module) == "theory"}
    assert folders == {"", *THEORY}


@pytest.mark.parametrize("folder", THEORY)
def test_a_folder_of_the_theory_imports_those_before_it(folder):
    allowed = THEORY[: THEORY.index(folder) + 1]
    for module, imported in IMPORTS.items():
        if module.split(".")[1:3] == ["theory", folder]:
            others = {n for n in imported if (n.split(".")[2:3] or [""])[0] not in allowed}
            assert not others, f"{module} imports {others}"


@pytest.mark.parametrize("folder", THEORY)
def test_a_folder_of_the_theory_says_what_is_in_it(folder):
    paths = (ROOT / "metagrad" / "theory" / folder).glob("[!_]*.py")
    doc = ast.get_docstring(ast.parse((ROOT / "metagrad" / "theory" / folder / "__init__.py").read_text("utf-8")))
    assert not {p.stem for p in paths if f"| `{p.stem}` " not in (doc or "")}


def plugin_of(module: str) -> str:
    """Return the plugin that a module of such a folder is, or is a part of.

    A folder that exports something is one plugin; one whose `__init__` imports nothing groups several.
    """
    pieces = module.split(".")
    above = [".".join(pieces[:n]) for n in range(3, len(pieces) + 1)]
    return next((m for m in above if MODULES[m].name != "__init__.py" or IMPORTS[m]), module)


def may_share(module: str, other: str) -> bool:
    """Whether `other` is private to a folder that `module` lies in."""
    folder, _, name = other.rpartition(".")
    return name.startswith("_") and module.startswith(f"{folder}.")


@pytest.mark.parametrize("folder", sorted(PLUGIN_FOLDERS))
def test_plugins_do_not_import_each_other(folder):
    for module in (m for m in MODULES if m.startswith(f"metagrad.{folder}.")):
        inside = {n for n in IMPORTS[module] if part_of(n) == folder}
        siblings = {n for n in inside if plugin_of(n) != plugin_of(module) and not may_share(module, n)}
        assert not siblings, f"{module} imports {siblings}"


def optional_members() -> set[str]:
    """Return the names of the members that a part may lack: those which its protocol lists under "Optional:"."""
    tree = ast.parse((ROOT / "metagrad" / "protocols.py").read_text("utf-8"))
    docs = [ast.get_docstring(n) or "" for n in tree.body if isinstance(n, ast.ClassDef) and n.name in PARTS]
    found: set[str] = set()
    for doc in docs:
        items = [item.strip() for item in doc.split("Optional:")[1].split(";\n")]
        for item in items:  # it begins with a name, or with several
            names = re.match(r"(?:`\w+(?:\([^`]*\))?`(?:, )?)+", item)
            assert names, f"no name where one belongs: {item}"
            found |= set(re.findall(r"`(\w+)", names[0]))
    return found


def members_asked_for(path: Path) -> set[str]:
    """Return the names that a module gives to getattr or hasattr as they stand."""
    calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call) and len(n.args) > 1]
    asking = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id in ("getattr", "hasattr")]
    return {n.args[1].value for n in asking if isinstance(n.args[1], ast.Constant)}


def test_optional_members_are_looked_up_in_one_place():
    """Elsewhere a part is asked through metagrad.parts, which has the default of what it leaves out."""
    here = ROOT / "metagrad" / "parts.py"
    known = optional_members() | UNLISTED
    asked = {name for name in members_asked_for(here) if not name.startswith("_")} - {"init"}  # which is required
    assert asked <= known, "write it under Optional: in metagrad/protocols.py"
    for path in SOURCES:
        if path != here and "theory" not in path.parts:
            assert not members_asked_for(path) & known, path


def test_the_array_modules_are_named_only_where_they_may_be():
    for path in SOURCES:
        top = path.relative_to(ROOT / "metagrad").parts[0].removesuffix(".py")
        if top not in {"xp", "kernels"}:
            assert not {n for n in imported_modules(path) if n.split(".")[0] == "cupy"}, path


def test_figures_import_neither_the_engine_nor_the_analysis():
    """How files are written and read, how seeds are named and sources told apart, and how commands and errors are
    worded is all that they share: a figure shows saved numbers, and computes none."""
    shared = {"metagrad.files", "metagrad.tables", "metagrad.errors.bad_value"}
    shared |= {f"analysis.framework.{name}" for name in ("seeds", "commands", "needs", "sources")}
    for path in (ROOT / "paper_figs").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported_modules(path) - shared}
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


def test_importing_metagrad_waits_for_the_outer_loop_and_the_rules():
    code = (
        "import sys, metagrad; late = 'training', 'optimizers.hand.adam'; "
        "print([name for name in late if f'metagrad.{name}' in sys.modules]); "
        "print([name for name in metagrad.__all__ if name not in dir(metagrad)]); "
        "print(metagrad.MetaTrainer is metagrad.training.MetaTrainer, metagrad.Adam is metagrad.optimizers.Adam)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.splitlines() == ["[]", "[]", "True True"]


@pytest.mark.parametrize("module", ["metagrad", "metagrad.optimizers"])
def test_names_that_load_later(module):
    loaded = importlib.import_module(module)
    assert all(hasattr(loaded, name) for name in loaded.__all__)
    assert set(loaded.__all__) <= set(dir(loaded))
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Adams'"):
        getattr(loaded, "Adams")  # noqa: B009


def test_nothing_is_unpickled():
    for folder in ("metagrad", "analysis", "paper_figs", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            assert "allow_pickle=True" not in source, path
            assert not {n.split(".")[0] for n in imported_modules(path)} & {"pickle", "dill", "joblib"}, path


def test_modules_keep_to_one_purpose():
    long = {p: n for p in SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
