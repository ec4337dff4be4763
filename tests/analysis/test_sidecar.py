"""Whatever is edited in a sidecar is found, and said with the file and the field; `run` makes the result anew."""

import json
import shutil

import numpy as np
import pytest

from analysis.framework import runner, sidecar
from metagrad import files, tables
from tests.analysis.test_store import call, run

NAME = "quick-seed0.json"


@pytest.fixture
def path(troubled, tmp_path, capsys):
    """Return the sidecar of a result."""
    run(tmp_path)
    capsys.readouterr()
    return tmp_path / "troubled" / NAME


def content(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    del found["digests"]
    return found


def edit(path, found, *, sealed):
    """Write an edited sidecar, with digests that fit, or with those of before."""
    digests = json.loads(path.read_text(encoding="utf-8"))["digests"]
    path.write_bytes(tables.sealed(found) if sealed else json.dumps(found | {"digests": digests}).encode())


def named(path, capsys, *words):
    """Check that `verify` refuses a result, and names the file and the words."""
    assert call("verify", path.parent.parent) == 2
    error = capsys.readouterr().err
    assert f"{path} is damaged (" in error
    assert "run `python -m analysis run --only troubled --preset quick --seed 0`" in error
    for word in words:
        assert word in error


def refused(path, capsys, *words):
    """Check that `verify` names the words, and that `run` makes a result that it takes."""
    out = path.parent.parent
    named(path, capsys, *words)
    assert call("list", out, "--long") == 0
    assert "(quick: to run" in capsys.readouterr().out
    assert run(out) == 0
    assert "done, from the cache" not in capsys.readouterr().out
    assert call("verify", out) == 0
    capsys.readouterr()


def other(value):
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return [*value, "x"] if isinstance(value, list) else value | {"x": "x"}


@pytest.mark.parametrize("field", sidecar.KINDS)
def test_every_field_that_is_edited_lost_or_of_another_kind_is_named(path, capsys, field):
    whole = content(path)
    assert set(whole) == set(sidecar.KINDS)
    edit(path, {name: value for name, value in whole.items() if name != field}, sealed=False)
    named(path, capsys, f"{field} is missing")
    edit(path, whole | {field: None}, sealed=False)
    named(path, capsys, f"{field} was edited (it is null)")
    edit(path, whole | {field: other(whole[field])}, sealed=False)
    named(path, capsys, f"{field} was edited (it is ")
    edit(path, whole | {field: None}, sealed=True)
    named(path, capsys, f"{field} is null, a NoneType; expected a ")


def test_a_field_more_is_named(path, capsys):
    for sealed in (True, False):
        edit(path, content(path) | {"note": 1}, sealed=sealed)
        named(path, capsys, "note is unknown: it was added")


# what a verdict of the same arrays cannot say: an edit that also mends the digest
FORGED = {
    "experiment": (lambda x: "horizons", "experiment is 'horizons', where 'troubled' belongs"),
    "claim": (lambda x: "a better claim", "claim is 'a better claim', where 'an experiment whose second shard"),
    "holds": (lambda x: False, "holds is False, where True belongs"),
    "preset": (lambda x: "paper", "preset is 'paper', where 'quick' belongs"),
    "seed": (lambda x: 7, "seed is 7, where 0 belongs"),
    "device": (lambda x: "gpu", "device is 'gpu', where 'cpu' belongs"),
    "command": (lambda x: "rm -r .", "command is 'rm -r .', where 'python -m analysis"),
    "key": (lambda x: "0", "key is '0', where "),
    "depends": (lambda x: {}, "key is "),
    "sha256": (lambda x: "0", "sha256 is not that of quick-seed0.npz"),
    "dtypes": (lambda x: {"x": "float32"}, "dtypes is {'x': 'float32'}, and the arrays have {'x': 'float64'}"),
    "units": (lambda x: {"x": 3}, "units['x'] is 3; expected a text"),
    "names": (lambda x: {"x": [["a"]]}, "names does not fit the arrays (Table: names['x'] is ['a']"),
    "checks": (lambda x: [], "checks is empty, and no claim holds unmeasured"),
}


@pytest.mark.parametrize("field", FORGED)
def test_an_edit_with_a_digest_that_fits_is_found_where_anything_else_says_otherwise(path, capsys, field):
    change, said = FORGED[field]
    whole = content(path)
    edit(path, whole | {field: change(whole[field])}, sealed=True)
    refused(path, capsys, said)


CHECKS = [
    (lambda c: c[0].update(measured=0.1), "checks[0].measured is 0.1, and the arrays say 0.428571"),
    (lambda c: c[0].update(measured=float("nan")), "checks[0].measured is nan, and the arrays say 0.428571"),
    (lambda c: c[0].update(measured="0.1"), "checks[0].measured is '0.1', and the arrays say"),
    (lambda c: c[0].update(measured=True), "checks[0].measured is True"),
    (lambda c: c[0].update(holds=False), "checks[0].holds is False, and the arrays say True"),
    (lambda c: c[0].update(holds=1), "checks[0].holds is 1, and the arrays say True"),
    (lambda c: c[0].update(key="a sentence"), "checks[0].key is 'a sentence', and the arrays say 'largest'"),
    (lambda c: c[0].update(what="x"), "checks[0].what is 'x', and the arrays say 'largest value [of x]'"),
    (lambda c: c[0].update(expected="<= 9"), "checks[0].expected is '<= 9', and the arrays say '<= 1'"),
    (lambda c: c[0].update(more=1), "checks[0] has not the fields key, what, measured, expected, holds"),
    (lambda c: c[0].pop("what"), "checks[0] has not the fields key, what, measured, expected, holds"),
    (lambda c: c.append(c[0]), "checks has 2 of 1 checks"),
    (lambda c: c.insert(0, 1) or c.pop(), "checks[0] has not the fields"),
]


@pytest.mark.parametrize(("change", "said"), CHECKS, ids=[said[:40] for _, said in CHECKS])
def test_a_verdict_that_the_arrays_do_not_lead_to_is_found(path, capsys, change, said):
    whole = content(path)
    change(whole["checks"])
    edit(path, whole, sealed=True)
    named(path, capsys, said)


def test_a_measured_number_may_be_rounded_otherwise(path, capsys):
    """As on another processor, where a digest fits, since nothing was edited."""
    whole = content(path)
    whole["checks"][0]["measured"] *= 1 + 1e-9
    edit(path, whole, sealed=True)
    assert call("verify", path.parent.parent) == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "Expecting value"),
        (b'"\xff"', "invalid start byte"),
        (b"[1]", "it is a list of JSON; expected a table"),
        (b"{}", "digests is missing: it was edited, or written by an older version"),
        (b'{"digests": 3}', "digests is missing"),
        (b'{"digests": {}}', "experiment is missing"),
        (b'{"holds": false, "holds": true}', "holds is there twice"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 100_000, "it is nested too deeply"),
        (b'{"seed": ' + b"9" * 10_000 + b"}", "Exceeds the limit"),
    ],
    ids=lambda x: repr(x[:20]),
)
def test_what_is_no_sidecar_is_said(path, capsys, damage, said):
    path.write_bytes(damage)
    named(path, capsys, said)


def test_every_byte_that_is_cut_off_or_flipped_is_found(troubled, path):
    """None of the damaged ones passes for a result: the request is looked at as `run` and `list` do it."""
    request = runner.Request("quick", 0, "cpu", path.parent.parent)
    whole = path.read_bytes()
    state = runner.saved_state(troubled, request)
    assert state is runner.Saved.CURRENT
    for place in range(0, len(whole), 7):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            state = runner.saved_state(troubled, request)
            assert state is runner.Saved.DAMAGED or json.loads(damaged) == json.loads(whole), place


def test_the_result_of_another_seed_does_not_take_the_place(path, capsys):
    out = path.parent.parent
    run(out, "--seed", "1")
    for suffix in (".json", ".npz"):
        shutil.copy(path.parent / f"quick-seed1{suffix}", path.parent / f"quick-seed0{suffix}")
    refused(path, capsys, "seed is 1, where 0 belongs")


def test_arrays_of_another_experiment_are_no_evidence(path, capsys):
    """Even with the hash and the digests that fit them."""
    data = files.npz_bytes({"y": np.zeros(3)})
    path.with_suffix(".npz").write_bytes(data)
    whole = content(path) | {"sha256": files.sha256(data), "dtypes": {"y": "float64"}, "units": {}}
    edit(path, whole, sealed=True)
    refused(path, capsys, "nothing can be decided from the arrays of quick-seed0.npz (KeyError: 'x')")


def test_verify_looks_at_all_and_tells_a_program(path, capsys):
    out = path.parent.parent
    assert call("verify", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)["troubled"]["0"]
    assert found["wrong"] == ""
    assert found["holds"] is True
    assert found["checks"] == content(path)["checks"]
    path.write_bytes(b"")
    assert call("verify", out, "--json") == 2
    assert f"{path} is damaged" in json.loads(capsys.readouterr().out)["troubled"]["0"]["wrong"]
