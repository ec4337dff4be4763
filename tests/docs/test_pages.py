"""The code in the pages runs, what they name is there, and none of the public names is left out."""

import ast
import importlib
import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

import metagrad
from metagrad import ad, data, testing, training

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
MADE = ("_build", "auto_tutorials", "gallery")  # by the build, from what is tested elsewhere
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in MADE)
REFERENCE = "".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").rglob("*.md")))


def blocks(page):
    """Return the Python code of a page, after as many empty lines as are before it: errors name its line."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return ["\n" * text[: one.start(1)].count("\n") + one[1] for one in found]


WITH_CODE = [page for page in PAGES if blocks(page)]


def test_there_is_code():
    assert len(WITH_CODE) >= 8


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    """Block after block, as it is read: a block may use what an earlier one has made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = {}
    for source in blocks(page):
        exec(compile(source, str(page), "exec"), names)
    assert capsys.readouterr().out.strip(), "it prints something, so that a reader sees that it runs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page):
    """Sphinx looks at them too, once it has made the pages that are left out here."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = [(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose)]
    kept = [link for link in links if link.relative_to(ROOT).parts[1] not in MADE]
    assert [link for link in kept if not link.exists()] == []


@pytest.mark.parametrize(
    ("module", "also"),
    [(metagrad, ""), (training, "training."), (ad, "ad."), (data, "data."), (testing, "testing.")],
    ids=["metagrad", "training", "ad", "data", "testing"],
)
def test_the_reference_has_every_public_name(module, also):
    shown = set(re.findall(r"\.\. auto\w+:: metagrad\.([\w.]+)", REFERENCE))
    names = {name for name in module.__all__ if name not in shown and f"{also}{name}" not in shown}
    assert names == set()


def test_the_reference_has_every_file_of_the_theory():
    files = {
        f"metagrad.theory.{path.parent.name}.{path.stem}"
        for path in (ROOT / "metagrad" / "theory").glob("*/*.py")
        if not path.stem.startswith("_")
    }
    assert files == set(re.findall(r"automodule:: (metagrad\.theory\.\w+\.\w+)", REFERENCE))


def test_what_the_reference_shows_exists():
    for name in re.findall(r"\.\. auto(?:class|function|exception):: ([\w.]+)", REFERENCE):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_the_functions_of_the_statements_are_imported_as_they_are_written():
    text = (DOCS / "statements.md").read_text(encoding="utf-8")
    figures = {path.stem for path in (ROOT / "paper_figs").glob("*.py")}
    rows = functions = 0
    for section in text.split("\n## ")[1:]:
        above = re.search(r"The functions are those of\s\[`(metagrad[\w.]+)`\]", section)
        found = [
            line.replace("\\|", "") for line in section.splitlines() if re.match(r"\| (Theorem|Coroll|Appen)", line)
        ]
        for line in found:
            *_, written, shown, _ = line.split("|")
            for name in re.findall(r"`([\w.]+)`", written):
                resolve_name(name if name.startswith("metagrad.") else f"{above[1]}.{name}")
                functions += 1
            assert set(re.findall(r"\[(\w+)\]", shown)) <= figures
        rows += len(found)
    assert rows >= 10
    assert functions >= 20


def test_a_function_of_another_file_is_not_found():
    with pytest.raises(AttributeError):
        resolve_name("metagrad.theory.quadratic.window")


def test_the_layers_are_those_of_the_test():
    written = re.search(
        r"^```text\n(.*?)^```", (DOCS / "design.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    source = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    named = {one.targets[0].id: one.value for one in source.body if isinstance(one, ast.Assign)}
    layers = [{name.strip() for name in layer.split("|")} for layer in written[1].split("<")]
    assert layers == ast.literal_eval(named["LAYERS"])


def test_the_versions_agree():
    version = metagrad.__version__
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version = {{{version}}}" in (DOCS / "citing.md").read_text(encoding="utf-8")
    assert f"## {version}" in (DOCS / "changelog.md").read_text(encoding="utf-8")
