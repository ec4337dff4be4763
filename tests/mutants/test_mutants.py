"""The faults are small, compile, and change what a function returns; the command says what survives."""

import ast
from pathlib import Path

import pytest

from tests.mutants import __main__ as command
from tests.mutants import hunt
from tests.mutants.mutations import mutations

SOURCE = '''
def guard(x: tuple[int, ...], most: int = 3) -> bool:
    """Return whether 1 < 2."""
    if not x or len(x) >= most:
        raise ValueError(f"{len(x) + 1} of {most}")
    return any(y < 0 for y in x) if most != 5 else x is None
'''


def test_every_fault_is_one_change_that_compiles():
    found = mutations(SOURCE)
    assert {one.kind for one in found} == {"comparison", "and, or", "not", "number", "function", "choice"}
    for one in found:
        made = one.made(SOURCE)
        assert ast.dump(ast.parse(made)) != ast.dump(ast.parse(SOURCE))
        assert made.count("\n") == SOURCE.count("\n")
    assert 'f"{len(x) + 1} of {most}"' in SOURCE
    assert not any("of" in one.before.split() for one in found)  # the words of an error are left alone
    assert "line 4, comparison: len(x) >= most  ->  len(x) > most" in map(str, found)


@pytest.mark.parametrize(
    ("before", "after"),
    [("x % 2 == 0", "x % 2 != 0"), ("-x", "x"), ("a and b", "a or b"), ("x // 8", "x * 8"), ("np.any(x)", "np.all(x)")],
)
def test_a_fault_is_what_it_says(before, after):
    assert f"y = {after}" in [one.made(f"y = {before}") for one in mutations(f"y = {before}")]


def test_offsets_are_right_behind_letters_of_several_bytes():
    source = 's = "Grad é ∂"; y = 2 < 3\n'
    assert 's = "Grad é ∂"; y = 2 <= 3\n' in [one.made(source) for one in mutations(source)]


def test_every_module_has_faults_that_the_same_seed_draws_again():
    assert command.drawn("metagrad/unroll/digits.py", 5, 1) == command.drawn("metagrad/unroll/digits.py", 5, 1)
    assert command.drawn("metagrad/unroll/digits.py", 5, 1) != command.drawn("metagrad/unroll/digits.py", 5, 2)
    assert len(command.drawn("metagrad", 300, 0)) == 300
    assert command.main(["--only", "nowhere"]) == 2


@pytest.fixture
def project(tmp_path):
    """A project of one function, whose tests look at one of its two guards."""
    for name, text in {
        "metagrad/scaled/guard.py": "def inside(x):\n    return x > 0 and x < 10\n",
        "tests/scaled/test_guard.py": (
            "from metagrad.scaled.guard import inside\n\n"
            "def test_inside():\n    assert inside(5)\n    assert not inside(-5)\n    assert not inside(0)\n"
        ),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return Path(tmp_path)


def test_what_no_test_looks_at_survives(project):
    path = "metagrad/scaled/guard.py"
    source = (project / path).read_text()
    by = {str(fault): hunt.hunt(project, path, fault, jobs=0).by for fault in mutations(source)}
    assert by["line 2, comparison: x > 0  ->  x >= 0"] == "the tests beside it"
    assert by["line 2, comparison: x < 10  ->  x <= 10"] is None
    assert by["line 2, and, or: x > 0 and x < 10  ->  x > 0 or x < 10"] == "the tests beside it"
    assert (project / path).read_text() == source


def test_a_module_that_no_test_is_beside_is_not_noticed_by_them(project):
    """pytest finds nothing beside it, which is no failure."""
    path = "metagrad/alone.py"
    (project / path).write_text("def half(x):\n    return x / 2\n")
    (fault,) = [one for one in mutations("def half(x):\n    return x / 2\n") if one.kind == "operator"]
    assert hunt.beside(project, path) == [path]
    assert hunt.hunt(project, path, fault, jobs=0).by is None
    (project / "tests" / "scaled" / "test_other.py").write_text(
        "from metagrad.alone import half\n\ndef test_half():\n    assert half(4) == 2\n"
    )
    assert hunt.hunt(project, path, fault, jobs=0).by == "all tests"
