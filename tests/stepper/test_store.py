"""A loop that was saved goes on to the same bits, and nothing else is taken for its file."""

import pickle
import re
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

import metagrad as mg
from metagrad.files import read_npz, write_npz
from metagrad.fingerprint import named_parts
from tests.stepper.loops import GROUPED, PARAMS, RULES, STEPS, in_dtype, same_bits, stepped

ADAM = (mg.Adam(), mg.Adam.Phi(0.05))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*RULES])
def test_it_goes_on_to_the_same_bits(name, dtype, tmp_path):
    (rule, phi), params = RULES[name], in_dtype(PARAMS["a dict"], dtype)
    first, plain = mg.Stepper(rule, phi, steps=STEPS), mg.Stepper(rule, phi, steps=STEPS)
    half = stepped(first, params, 3)
    first.save(tmp_path / "loop.npz")
    second = mg.Stepper(rule, phi, steps=STEPS)
    second.load(tmp_path / "loop.npz", half)
    assert second.t == 3
    assert same_bits(stepped(second, half, STEPS - 3), stepped(plain, params))


def test_groups_and_the_start(tmp_path):
    phi = {"a": mg.Momentum.Phi(0.1, 0.6), "b": mg.Adam.Phi(0.05)}
    path, params = str(tmp_path / "loop.npz"), PARAMS["a dict"]
    first, second = mg.Stepper(GROUPED, phi), mg.Stepper(GROUPED, phi)
    first.save(path)
    second.load(path, params)
    assert second.t == 0
    half = stepped(first, params, 2)
    first.save(path)
    second.load(path, half)
    assert same_bits(stepped(second, half, 2), stepped(first, half, 2))
    mg.Stepper(GROUPED, phi).save(path)
    second.load(path, params)
    assert (second.t, same_bits(stepped(second, params, 2), half)) == (0, True)


def saved(folder: Path, rule=ADAM, params=None, **more) -> Path:
    stepper = mg.Stepper(*rule, **more)
    stepped(stepper, PARAMS["a dict"] if params is None else params, 2)
    stepper.save(folder / "loop.npz")
    return folder / "loop.npz"


def refused(path, rule=ADAM, params=None, **more) -> str:
    stepper = mg.Stepper(*rule, **more)
    with pytest.raises(ValueError, match=r"^Stepper\.load: path is .*; expected .*\.") as found:
        stepper.load(path, PARAMS["a dict"] if params is None else params)
    assert stepper.t == 0
    stepped(stepper, PARAMS["a dict"], 1)  # and is as it was
    return str(found.value)


@pytest.mark.parametrize(
    ("written", "read", "expected"),
    [
        (
            {},
            {"rule": (mg.Adam(), mg.Adam.Phi(0.06))},
            r"another loop \(phi Phi\(eta=0\.05, .*\) there, Phi\(eta=0\.06, .*\) here\)",
        ),
        (
            {},
            {"rule": (mg.NAdam(), mg.NAdam.Phi(0.05))},
            r"\(rule Adam there, NAdam here; phi",
        ),
        ({}, {"steps": 9}, "steps None there, 9 here"),
        (
            {},
            {"params": in_dtype(PARAMS["a dict"], "float32")},
            r"params\['W'\] 'float64\[3, 2\]' there, 'float32\[3, 2\]' here",
        ),
        ({"params": PARAMS["a matrix"]}, {}, r"params\['W'\], which is here alone"),
        (
            {"rule": (mg.Until(mg.Momentum(), 0.5), mg.Momentum.Phi(0.1, 0.6))},
            {"rule": (mg.Until(mg.Momentum(), 0.6), mg.Momentum.Phi(0.1, 0.6))},
            r"rule tolerance = 0\.5 there, tolerance = 0\.6 here",
        ),
        (
            {"rule": (RULES["CoordinatewiseLSTM"][0], RULES["CoordinatewiseLSTM"][1])},
            {"rule": (mg.CoordinatewiseLSTM((4, 3), 5.0), RULES["CoordinatewiseLSTM"][1])},
            r"rule preprocessing = 10\.0 there, preprocessing = 5\.0 here",
        ),
    ],
)
def test_the_file_of_another_loop(written, read, expected, tmp_path):
    said = refused(saved(tmp_path, **written), **read)
    assert re.search(expected, said), said


class Own:
    """A rule of one's own that is no dataclass."""

    def __init__(self, k, inner=None):
        self.k, self.inner = k, inner

    def init(self, phi, w):
        return {"m": 0 * w * self.twice}

    @cached_property
    def twice(self):  # there after the first step alone
        return 2.0 * self.k

    def step(self, phi, state, w, f):
        return w - self.k * phi["eta"] * f.gradient(w), state


class Wrapped(Own):
    __slots__ = ("hidden",)

    def __init__(self, hidden):
        super().__init__(1.0)
        self.hidden = hidden


def other_code():
    def step(self, phi, state, w, f):
        return w - 2.0 * self.k * phi["eta"] * f.gradient(w), state

    changed = type("Own", (Own,), {"step": step, "__module__": Own.__module__, "__qualname__": Own.__qualname__})
    return changed(1.0)


def by_first(letter):
    return lambda path: "a" if letter in path else "b"


ETA = {"eta": 0.1}
FIELDS = ({"a": mg.Momentum(), "b": mg.Momentum()}, {"a": mg.Momentum.Phi(0.1, 0.6), "b": mg.Momentum.Phi(0.2, 0.6)})


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        (lambda: Own(1.0), lambda: Own(50.0), r"\(rule k = 1\.0 there, k = 50\.0 here\)"),
        (lambda: Own(np.ones(2)[0]), lambda: Own(np.zeros(2)[0]), r"\(rule k = np\.float64\(1\.0\) there"),
        (
            lambda: Own(1.0, Own(1.0)),
            lambda: Own(1.0, Own(2.0)),
            r"\(rule inner\.k = 1\.0 there, inner\.k = 2\.0 here\)",
        ),
        (
            lambda: Own(1.0, [0.0] * 99),
            lambda: Own(1.0, [0.0] * 98 + [1.0]),
            r"\(rule inner = list there, inner = another list here",
        ),
        (lambda: Wrapped(1.0), lambda: Wrapped(2.0), r"\(rule, of other numbers or code\)"),
        (lambda: Own(1.0), other_code, r"\(rule, of other numbers or code\)"),
    ],
)
def test_the_file_of_a_rule_with_other_data_or_code(there, here, expected, tmp_path):
    params = np.ones((3, 2))
    first, second = (mg.Stepper(one(), ETA) for one in (there, there))
    first.save(tmp_path / "loop.npz")
    second.load(tmp_path / "loop.npz", params)
    params = first.update(params, params)
    first.save(tmp_path / "loop.npz")
    second.load(tmp_path / "loop.npz", params)
    assert second.t == 1
    third = mg.Stepper(here(), ETA)
    with pytest.raises(ValueError, match=expected):
        third.load(tmp_path / "loop.npz", params)
    assert third.t == 0


def test_the_file_of_groups_with_other_labels(tmp_path):
    rules, phi = FIELDS
    path = saved(tmp_path, rule=(mg.Grouped(rules, by_first("W")), phi))
    mg.Stepper(mg.Grouped(rules, by_first("W")), phi).load(path, PARAMS["a dict"])
    said = refused(path, rule=(mg.Grouped(rules, by_first("b")), phi))
    assert re.search(r"\(rule \w+ = <lambda> there, \w+ = another <lambda> here\)", said), said


def test_the_file_of_another_python(tmp_path):
    path = saved(tmp_path)
    arrays, about = read_npz(path, "test")
    write_npz(path, arrays, about | {"of": about["of"] | {"python": named_parts({"x": "3.1"})["x"]}})
    assert "(python '3.1' there, " in refused(path)


def test_no_file_and_damaged_ones(tmp_path):
    assert "does not exist" in refused(tmp_path / "none.npz")
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    assert "cannot be read" in refused(path)
    path = saved(tmp_path)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(bytes(data))
    assert "cannot be read" in refused(path)
    mg.save_trained(tmp_path / "trained.npz", *ADAM)
    assert "no state of a Stepper" in refused(tmp_path / "trained.npz")


def test_edited_files(tmp_path):
    path = saved(tmp_path)
    arrays, about = read_npz(path, "test")
    for name, change in {
        "lost": {"arrays": {k: x for k, x in arrays.items() if k != "state_0"}},
        "more": {"arrays": arrays | {"state_99": np.zeros(1)}},
        "shape": {"arrays": arrays | {"state_0": np.zeros(7)}},
        "kind": {"arrays": arrays | {"state_0": arrays["state_0"].astype("int64")}},
        "t": {"about": about | {"t": -1}},
        "t as text": {"about": about | {"t": "2"}},
        "paths": {"about": about | {"paths": about["paths"][::-1]}},
        "nobody's": {"about": about | {"of": None}},
        "no params": {"about": about | {"of": {k: x for k, x in about["of"].items() if "params" not in k}}},
        "format": {"about": about | {"format": 2}},
        "texts": {"about": about | {"of": dict.fromkeys(about["of"], "Adam")}},
    }.items():
        one = tmp_path / f"{name}.npz"
        write_npz(one, change.get("arrays", arrays), change.get("about", about))
        assert refused(one), name


def test_a_state_that_cannot_be_saved(tmp_path):
    class Words:
        def init(self, phi, w):
            return {"word": "none"}

        def step(self, phi, state, w, f):
            return w - phi["eta"] * f.gradient(w), {"word": "some"}

    stepper = mg.Stepper(Words(), {"eta": 0.1})
    stepper.update(np.ones(2), np.ones(2))
    with pytest.raises(TypeError, match=r"Stepper\.save: the state\['word'\] of the rule is a str; expected numbers"):
        stepper.save(tmp_path / "loop.npz")
    assert not list(tmp_path.iterdir())


def test_a_state_that_changes_its_structure(tmp_path):
    class Growing:
        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            return w - phi["eta"] * f.gradient(w), (*state, w)

    rule = (Growing(), {"eta": 0.1})
    stepper = mg.Stepper(*rule)
    stepper.update(np.ones(2), np.ones(2))
    with pytest.raises(TypeError, match=r"Stepper\.save: the state of the rule is .*; expected .* structure"):
        stepper.save(tmp_path / "loop.npz")


def test_a_folder_that_is_missing(tmp_path):
    stepper = mg.Stepper(*ADAM)
    with pytest.raises(
        ValueError, match=r"^Stepper\.save: path is \S+x\.npz, in the folder \S+none, which does not exi"
    ) as e:
        stepper.save(tmp_path / "none" / "x.npz")
    assert str(e.value).endswith("expected a file in a folder that exists. Make the folder first, or look at the path.")
    assert not list(tmp_path.iterdir())


def test_a_stepper_under_way_is_not_pickled():
    stepper = mg.Stepper(*ADAM)
    params = np.ones(2)
    fresh = pickle.loads(pickle.dumps(stepper))
    after = stepper.update(params, params)
    assert same_bits(fresh.update(params, params), after)
    with pytest.raises(
        TypeError, match=r"^Stepper: .* after 1 updates, to be pickled; expected .*stepper\.save\(path\)"
    ):
        pickle.dumps(stepper)
    assert stepper.t == 1
