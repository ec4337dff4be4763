"""A file of an optimizer that came from a stranger: a clear error before it takes memory, and none of its code runs."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import metagrad as mg
from metagrad import files
from metagrad.cli import main
from metagrad.files import LARGEST

RULE = mg.CoordinatewiseLSTM.quadratic((4,))
PHI = RULE.init_meta(np.random.default_rng(0))
ARRAYS = {f"phi_{k}": x for k, x in enumerate((*PHI.layers[0], *PHI.output))}
CONFIG = {"dtype": "float64", "optimizer": {"kind": "lstm", "hidden": [4]}}
MIB = 2**20


def write(path, arrays=ARRAYS, config=CONFIG, **more):
    """Write a file whose checksum fits, whatever is in it."""
    files.write_npz(path, arrays, {"format": 1, "config": config, "about": {}, **more})


def asks_for(**section):
    return lambda path: write(path, config={"dtype": "float64", "optimizer": {"kind": "lstm", **section}})


def of_kind(**section):
    return lambda path: write(path, config={"dtype": "float64", "optimizer": section})


def described(text):
    """Write a file with this text in the place of its description."""

    def make(path):
        np.savez(path, about=np.frombuffer(text.encode(), dtype=np.uint8), **ARRAYS)

    return make


def header(shape, descr="<f8", order="False"):
    text = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def with_member(content, name="phi_0.npy", compress=zipfile.ZIP_STORED):
    """Write a file with an array of these bytes in the place of, or beside, its own."""

    def make(path):
        write(path)
        with zipfile.ZipFile(path) as old:
            members = {x: old.read(x) for x in old.namelist() if x != name}
        with zipfile.ZipFile(path, "w") as new:
            for member, data in members.items():
                new.writestr(member, data)
            new.writestr(name, content, compress)

    return make


def twice(path):
    write(path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("phi_0.npy", header((2,)) + bytes(16))


def compressed(path):
    np.savez_compressed(path, about=np.zeros(1, np.uint8), phi_0=np.zeros(64 * MIB // 8))


def sparse(path):
    """Write a file that takes no room on the disk and says it has a GiB."""
    with path.open("wb") as file:
        file.write(b"PK")
        file.truncate(2**30)
        file.seek(2**30 - 22)
        file.write(b"PK\x05\x06" + bytes(18))


class Trap:
    def __reduce__(self):
        return print, ("the trap was opened",)


def trap(path):
    np.savez(path, about=np.frombuffer(b'{"format": 1}', np.uint8), phi_0=np.array([Trap()], dtype=object))


def nested(depth):
    return '{"format": 1, "config": ' + "[" * depth + "]" * depth + "}"


ATTACKS = {
    "a large network": (asks_for(hidden=[40000, 2]), "with phi_0 of shape (5, 16); expected (40001, 160000), that of"),
    "an absurd network": (
        asks_for(hidden=[10**30]),
        "weights can be made, and (1000000000000000000000000000001,",
    ),
    "no units": (asks_for(hidden=[-1]), "hidden[0] is -1; expected an integer of at least"),
    "a million layers": (
        asks_for(hidden=[1] * 70_000),
        "whose config of the optimizer takes 2100",
    ),
    "a unit that is a text": (asks_for(hidden=["4"]), "[optimizer] hidden is '4', a str; expected an integer"),
    "a unit that is NaN": (asks_for(hidden=[float("nan")]), "[optimizer] hidden is nan, a float; expected an integer"),
    "a kind without end": (of_kind(kind="x" * 500_000), "optimizer takes 5000"),
    "a key without end": (of_kind(kind="sgd", **{"x" * 500_000: 1}), "optimizer takes 5000"),
    "a dtype without end": (lambda p: write(p, config=CONFIG | {"dtype": "x" * 500_000}), "optimizer takes 5000"),
    "a path without end": (lambda p: write(p, paths=["x" * 500_000]), "where its optimizer has"),
    "a large MLP": (of_kind(kind="mlp31", hidden=10**9), "with phi_0 of shape (5, 16); expected (31, 1000000000)"),
    "a step size that is NaN": (of_kind(kind="sgd", eta=float("nan")), "config [optimizer]: eta is nan"),
    "a step size without end": (
        of_kind(kind="sgd", eta=10**400),
        "[optimizer] eta is an integer of 1329 bits; expected",
    ),
    "a rule that is none": (of_kind(kind="os.system"), "[optimizer] kind is 'os.system'; expected a known kind"),
    "a rule that is a list": (of_kind(kind=["lstm"]), "[optimizer] kind is ['lstm']; expected a known kind"),
    "a rule of a module": (of_kind(kind="os:system"), "is made by 'os:system', and no file has code imported"),
    "an optimizer that is a list": (lambda p: write(p, config={"optimizer": [1]}), "expected a table"),
    "a config that is a list": (lambda p: write(p, config=[1]), "which is no trained optimizer"),
    "a dtype that is none": (
        lambda p: write(p, config=CONFIG | {"dtype": [1]}),
        "dtype is [1]; expected a known",
    ),
    "an array less": (lambda p: write(p, {x: ARRAYS[x] for x in list(ARRAYS)[:-1]}), "without phi_3"),
    "an array more": (lambda p: write(p, ARRAYS | {"phi_4": np.zeros(1)}), "with phi_4 beside them"),
    "another shape": (lambda p: write(p, ARRAYS | {"phi_0": np.zeros((3, 16))}), "phi_0 of shape (3, 16); expected"),
    "another dtype": (lambda p: write(p, ARRAYS | {"phi_0": np.zeros((5, 16), "f4")}), "phi_0 of float32; expected"),
    "integers": (lambda p: write(p, ARRAYS | {"phi_0": np.zeros((5, 16), int)}), "phi_0 of int64; expected float64"),
    "a NaN": (lambda p: write(p, ARRAYS | {"phi_0": np.full((5, 16), np.nan)}), "phi_0, which is not finite"),
    "other paths": (lambda p: write(p, paths=["a"]), "where its optimizer has"),
    "paths that are no list": (lambda p: write(p, paths={"a": 1}), "which was edited (paths is"),
    "an evaluation that is a text": (lambda p: write(p, best_value="low"), "which was edited (best_value)"),
    "a pickle in an array": (trap, "Object arrays cannot be loaded"),
    "a compressed archive": (compressed, "it is compressed"),
    "a bomb in an array": (with_member(header((2**23,)) + bytes(2**26), compress=zipfile.ZIP_DEFLATED), "compressed"),
    "a header of a tebibyte": (with_member(header((2**37,)) + bytes(8)), "which is 1099511627776 bytes; it has 8"),
    "a header of more than there can be": (with_member(header((2**62, 2**62)) + bytes(8)), "it has 8"),
    "a header of nothing": (with_member(header((-1,)) + bytes(8)), "phi_0 is of shape (-1,)"),
    "a header with code": (with_member(header("__import__('os')") + bytes(8)), "cannot be read"),
    "a header without end": (with_member(header("(" * 9000 + ")" * 9000) + bytes(8)), "the header of phi_0 takes 18"),
    "a nested header": (with_member(header("(" * 900 + ")" * 900) + bytes(8)), "cannot be read"),
    "no header": (with_member(b"abc"), "cannot be read"),
    "an array twice": (twice, "phi_0 is there twice"),
    "what is no array": (with_member(b"import os", name="evil.py"), "'evil.py' in it is no array"),
    "a file of a GiB": (sparse, f"of {2**30} bytes; expected at most {LARGEST}. Give largest={2**30} if you trust"),
    "a long description": (described('{"format": 1, "a": "' + "x" * 2 * MIB + '"}'), "its description is 2097"),
    "a description of lists": (
        described(f'{{"format": 1, "a": [{"[]," * 300_000}[]]}}'),
        "which is no trained optimizer",
    ),
    "a nested description": (described(nested(1000)), "nested too deeply"),
    "a description nested less": (described(nested(100)), "nested too deeply, more than 64 times"),
    "a number without end": (described('{"format": 1, "config": ' + "9" * 10**5 + "}"), "Exceeds the limit"),
    "a format without end": (
        described('{"format": ' + "9" * 4000 + "}"),
        "a newer trained optimizer of another",
    ),
    "a field twice": (described('{"format": 1, "format": 1}'), "format is there twice"),
    "no JSON": (described("format = 1"), "Expecting value"),
    "no table": (described("[1]"), "it is a list of JSON"),
    "a file of nothing": (lambda p: p.write_bytes(b""), "it is no npz archive"),
    "half a file": (lambda p: (write(p), p.write_bytes(p.read_bytes()[:700])), "its end is missing"),
}
LOAD = """
import json, resource, sys, tracemalloc
import metagrad as mg
mg.load_trained("lstm_quadratics")  # what every load has imported
tracemalloc.start()
base = tracemalloc.get_traced_memory()[0]
found = {}
for path in sys.stdin.read().splitlines():
    tracemalloc.reset_peak()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said = f"loaded {type(mg.load_trained(path)).__name__}"
    except Exception as error:
        said = str(error) if type(error) in (ValueError, TypeError) else f"{type(error).__name__}: {error}"
    peak = tracemalloc.get_traced_memory()[1] - base
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found[path] = [said, peak, grown * 1024]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Return what loading each file said, and what memory it took, in a process of its own."""
    folder = tmp_path_factory.mktemp("strangers")
    paths = {name: folder / f"{k}.npz" for k, name in enumerate(ATTACKS)}
    for name, path in paths.items():
        ATTACKS[name][0](path)
    root = Path(__file__).resolve().parents[2]
    listed = "\n".join(map(str, paths.values()))
    run = subprocess.run(
        [sys.executable, "-c", LOAD], input=listed, capture_output=True, text=True, check=True, cwd=root
    )
    found = json.loads(run.stdout)
    assert run.stderr == ""
    return {name: (str(path), *found[str(path)]) for name, path in paths.items()}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_stranger_is_told_at_the_door(loaded, name):
    path, said, peak, grown = loaded[name]
    assert ATTACKS[name][1] in said
    assert said.startswith(("load_trained: ", "config", "CoordinatewiseLSTM: ", "MLP31: "))
    assert len(said) < 5000
    assert "\n" not in said
    assert max(peak, grown) < 50 * MIB, f"{peak / MIB:.0f} MiB, {grown / MIB:.0f} MiB"
    if said.startswith("load_trained: name"):
        assert path in said


def test_a_file_that_is_large_is_loaded_where_that_is_asked_for(tmp_path):
    path = tmp_path / "a.npz"
    write(path)
    size = path.stat().st_size
    with pytest.raises(ValueError, match=rf"of {size} bytes; expected at most 100\. Give largest={size} if you trust"):
        mg.load_trained(path, largest=100)
    assert mg.load_trained(path, largest=2**30).optimizer.hidden == (4,)
    for largest in (0, 1.5, None):
        with pytest.raises(ValueError, match=r"largest is .*; expected a number of bytes"):
            mg.load_trained(path, largest=largest)


def test_shapes_without_memory_are_those_of_the_draw():
    for rule in (RULE, mg.CoordinatewiseLSTM(()), mg.CoordinatewiseLSTM.paper((3, 5)), mg.MLP31(7)):
        for dtype in (np.float32, np.float64):
            drawn = mg.ad.leaves(rule.init_meta(np.random.default_rng(0), dtype))
            like = mg.ad.leaves(rule.meta_like(dtype))
            assert [(x.shape, x.dtype) for x in drawn] == [(x.shape, x.dtype) for x in like]
            assert all(x.strides == (0,) * x.ndim for x in like)


def test_the_command_says_it_too(tmp_path, capsys):
    for k, name in enumerate(("a large network", "a rule of a module", "a compressed archive")):
        path = tmp_path / f"{k}.npz"
        ATTACKS[name][0](path)
        assert main(["evaluate", str(path)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert ATTACKS[name][1] in error


@pytest.mark.parametrize(
    ("task", "training", "said"),
    [
        ({"kind": "quadratics", "count": 10**9}, {}, "asks for tasks of 100000000000 numbers; expected at most"),
        ({"kind": "regressions", "d": 10**30}, {}, "asks for tasks of 128"),
        (
            {"kind": "images", "data": "digits8x8", "sizes": [64, 10**9, 10]},
            {},
            "asks for tasks of 74000000000 numbers",
        ),
        (
            {"kind": "quadratics"},
            {"evaluation_steps": 10**12},
            "asks for 1000000000000 steps; expected at most 1000000",
        ),
    ],
)
def test_evaluate_does_not_do_whatever_a_file_asks_for(tmp_path, capsys, task, training, said):
    path = tmp_path / "a.npz"
    write(path, config=CONFIG | {"task": task, "training": {"episodes": 1, **training}})
    assert main(["evaluate", str(path), "--tasks", "1"]) == 1
    assert said in capsys.readouterr().err


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    deep = {"a": 1}
    for _ in range(100):
        deep = {"a": deep}
    for about, said in ((deep, "nested too deeply"), ({"a": "x" * MIB}, "one of 1048585 bytes as JSON; expected")):
        with pytest.raises((TypeError, ValueError), match=said):
            mg.save_trained(tmp_path / "a.npz", RULE, PHI, about=about)
    assert not list(tmp_path.iterdir())
