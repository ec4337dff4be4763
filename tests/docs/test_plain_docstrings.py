"""Docstrings become reStructuredText that says what they say."""

import ast
import importlib.util
import io
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def as_rest():
    path = ROOT / "docs" / "_ext" / "plain_docstrings.py"
    spec = importlib.util.spec_from_file_location("plain_docstrings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.as_rest


def test_mathematics_is_no_markup(as_rest):
    assert as_rest("|F'| <= t S mu^n, w_ and *w, `x_` too") == "\\|F'\\| <= t S mu^n, w\\_ and \\*w, ``x_`` too\n"


def test_a_literal_does_not_touch_a_word(as_rest):
    assert as_rest("the `eta`s of (`a`)b") == "the ``eta``\\ s of (``a``)b\n"
    assert as_rest("2`x`") == "2\\ ``x``\n"


def test_strong_stays_strong(as_rest):
    assert as_rest("**E = t b/n** and 2*x*y") == "**E = t b/n** and 2\\*x\\*y\n"


def test_what_is_indented_stays_as_it_is(as_rest):
    assert as_rest("With n:\n\n    a  *b*\n      `c`\n") == "With n:\n\n.. code-block:: text\n\n    a  *b*\n      `c`\n"


def test_an_indented_line_within_a_paragraph_is_parted(as_rest):
    assert as_rest("is\n    a = b\nwith c") == "is\n\n.. code-block:: text\n\n    a = b\n\nwith c\n"


def test_a_table_keeps_the_bars_of_formulas(as_rest):
    made = as_rest("| file | has |\n|---|---|\n| `a` | ||w||^2 |")
    assert made.startswith(".. list-table::\n   :header-rows: 1\n")
    assert "   * - ``a``\n     - \\|\\|w\\|\\|^2" in made


def test_several_names_become_a_list(as_rest):
    made = as_rest("Options. `a`: one thing.\n`b`, `c`: two\nthings. `d`: a third.")
    assert made == "Options.\n\n* ``a``: one thing.\n* ``b``, ``c``: two things.\n* ``d``: a third.\n"


def test_a_doctest_stays(as_rest):
    assert as_rest("Say.\n\n>>> f(2 * 3)\n6") == "Say.\n\n>>> f(2 * 3)\n6\n"


def test_the_first_word_is_not_taken_for_a_list(as_rest):
    assert as_rest("E. coli") == "\\E. coli\n"
    assert as_rest("- P + 2 Q, in a line") == "* P + 2 Q, in a line\n"


def test_no_docstring_of_the_theory_warns(as_rest):
    """They are the densest; those of the other pages are read when these are built, where a warning is an error."""
    core = pytest.importorskip("docutils.core")
    count = 0
    for path in sorted((ROOT / "metagrad" / "theory").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) or not ast.get_docstring(node):
                continue
            text = as_rest(ast.get_docstring(node)).replace(".. code-block:: text", ".. code::")
            warnings = io.StringIO()
            core.publish_doctree(text, settings_overrides={"warning_stream": warnings, "report_level": 1})
            assert not warnings.getvalue(), (path, getattr(node, "name", ""))
            count += 1
    assert count > 300
