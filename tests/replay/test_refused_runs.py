"""Code that cannot be replayed: the tape's answer, or its error."""

import dataclasses
import functools
import types

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.replay.kept import Kept
from metagrad.xp import rng
from tests.replay.runs import bits, both, data


def looks(w):
    return np.sum(w * w, axis=-1) if float(np.sum(ad.stop_gradient(w))) > -1e9 else np.sum(w, axis=-1)


def branches(w):
    return np.sum(w * w, axis=-1) if (w > -1e9).all() else np.sum(w, axis=-1)


def converts(w):
    return np.sum(w * w, axis=-1) + 0.0 * len([x for x in np.asarray(ad.stop_gradient(w)).ravel() if x > 0])


def unknown(w):
    return np.sum(w * w, axis=-1) + 0.0 * np.unique(ad.stop_gradient(w)).size


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (looks, "float"),
        (branches, "branches on numbers"),
        (converts, "takes the numbers out"),
        (unknown, "numpy.unique is not recorded"),
    ],
)
def test_what_looks_at_numbers_is_the_tapes(loss, why):
    task = mg.FunctionTask(loss, w0=np.ones((2, 3)))
    found = both(task, mg.GradientDescent(), mg.GradientDescent.Phi(0.1), replayed=False)
    assert why in found.replay
    assert found.replay in found.report()
    assert "\n" not in found.replay


def test_a_sample_that_is_branched_on():
    def loss(w, sample):
        return np.sum(w * w, axis=-1) if sample.mean() > 0 else np.sum((w - 1.0) ** 2, axis=-1)

    task = mg.FunctionTask(loss, w0=np.ones((2, 3)), sampler=lambda stream, t: stream.standard_normal(3))
    found = both(task, mg.GradientDescent(), mg.GradientDescent.Phi(0.1), replayed=False)
    assert "branches" in found.replay


def test_another_shape_at_step_7():
    def loss(w, sample):
        return np.sum((w[:, None] - sample) ** 2, axis=(1, 2))

    task = mg.FunctionTask(
        loss, w0=np.ones((2, 3)), sampler=lambda stream, t: stream.standard_normal((2, 5 if t < 7 else 4, 3))
    )
    both(task, mg.GradientDescent(), mg.GradientDescent.Phi(0.01))
    task = dataclasses.replace(task, sampler=lambda stream, t: stream.standard_normal((2, t + 1, 3)))
    found = both(task, mg.GradientDescent(), mg.GradientDescent.Phi(0.01))
    assert found.replay.startswith("1 of 48")


def test_a_global_and_a_closure_that_change_between_calls():
    x, y = data()
    scale = [1.0]

    def loss(w):
        return scale[0] * np.mean((np.einsum("bnd,bd->bn", x, w) - y) ** 2, axis=-1)

    task = mg.FunctionTask(loss, w0=np.zeros((4, 3)))
    phi = mg.GradientDescent.Phi(0.1)
    for _ in range(2):
        both(task, mg.GradientDescent(), phi)
        scale[0] *= 2.0
        both(task, mg.GradientDescent(), phi)
        x *= 0.5
        y[...] = 1.0


def test_a_change_that_the_first_step_does_not_see():
    """At w = 0 the decay is 0, and the first step does not tell; what the loss holds does, and it is recorded anew."""
    x, y = data()
    decay = [0.1]

    def loss(w):
        return np.mean((np.einsum("bnd,bd->bn", x, w) - y) ** 2, axis=-1) + decay[0] * np.sum(w * w, axis=-1)

    task, phi = mg.FunctionTask(loss, w0=np.zeros((4, 3))), mg.GradientDescent.Phi(0.1)
    both(task, mg.GradientDescent(), phi)
    decay[0] = 0.3
    both(task, mg.GradientDescent(), phi, calls=1)


def errors_of(make, rule, phi, steps=30):
    """Return the names of the parts that the errors are of, by the tape and by replay: a fresh part of make() each."""
    said = []
    for fused in (False, True):
        with pytest.raises(ValueError, match="another result") as error:
            mg.Reverse(fused=fused)(make(), rule, mg.WeightedSum(), phi, steps=steps)
        said.append(str(error.value).split(":")[0])
    return said


def test_impure_losses():
    phi = mg.GradientDescent.Phi(0.1)

    def counting():
        calls = []

        def loss(w):
            calls.append(1)
            return np.sum(w * w, axis=-1) * (1.0 + 0.01 * len(calls))

        return mg.FunctionTask(loss, w0=np.ones((2, 3)))

    def random():
        stream = np.random.default_rng(0)
        return mg.FunctionTask(lambda w: np.sum((w - stream.random(3)) ** 2, axis=-1), w0=np.ones((2, 3)))

    def late():
        calls = [0]

        def loss(w):
            calls[0] += 1
            return np.sum(w * w, axis=-1) * (2.0 if calls[0] > 45 else 1.0)

        return mg.FunctionTask(loss, w0=np.ones((2, 3)))

    for make in (counting, random):
        by_tape, by_replay = errors_of(make, mg.GradientDescent(), phi)
        assert by_tape == by_replay
    errors_of(late, mg.GradientDescent(), phi)  # which part is named depends on how often it was called before


def test_nan_is_the_tapes():
    """Zeros are strong: sqrt at 0 in a branch that is not taken."""

    def loss(w):
        return np.sum(np.where(w > 0.5, np.sqrt(np.maximum(w - 0.5, 0.0)), w * w), axis=-1)

    task = mg.FunctionTask(loss, w0=np.array([[0.4, 0.9, 0.5], [0.2, 0.5, 0.7]]))
    both(task, mg.GradientDescent(), mg.GradientDescent.Phi(0.05))
    task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), np.full((2, 2), 3.0))
    both(task, mg.GradientDescent(), mg.GradientDescent.Phi(5.0))


@pytest.mark.parametrize("change", ["one entry", "two rows", "order"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_that_changes_is_seen(change, order):
    """Of arrays above 128 kB sums are hashed: one other entry is seen, and entries that changed places."""
    x = np.array(rng(0, "large").standard_normal((400, 90)), order=order)

    def loss(w):
        return np.mean((w @ x.T) ** 2, axis=-1)

    was = Kept(loss, whole=True).seen
    assert Kept(loss, whole=True).seen == was
    if change == "one entry":
        x[123, 45] = np.nextafter(x[123, 45], 9.0)
    elif change == "two rows":
        x[[7, 8]] = x[[8, 7]]
    else:
        x[:] = x[::-1].copy()
    assert Kept(loss, whole=True).seen != was


SETTINGS = types.ModuleType("settings_of_a_user")
NAMED = [0.0] * 100
_DEEP = 0.0


class _Base:
    floor = 0.0


class _Inherits(_Base):
    def __call__(self, w):
        return _above(w, self.floor)


@dataclasses.dataclass(slots=True)
class _Slots:
    floor: float = 0.0


def _above(w, floor):
    return np.sum(np.maximum(np.abs(w) * [1.0, 0.3, 2.0], floor), axis=-1)


def _helper():
    return _second()


def _second():
    return _third()


def _third():
    return _DEEP


def _hidden_settings():
    """Return losses whose floor is found in some place, with what sets it there."""
    slots, held, names = _Slots(), np.zeros(3), types.SimpleNamespace(a=types.SimpleNamespace(floor=0.0))
    floors = {0.0}

    def inner(w):
        def within():
            return _above(w, _DEEP)

        return within()

    def set_deep(x):
        globals()["_DEEP"] = x

    def set_only(x):
        floors.clear()
        floors.add(x)

    return {
        "attribute of a module": (lambda w: _above(w, SETTINGS.floor), lambda x: setattr(SETTINGS, "floor", x)),
        "slots": (lambda w: _above(w, slots.floor), lambda x: setattr(slots, "floor", x)),
        "partial": (functools.partial(_above, floor=held), held.fill),
        "base class": (_Inherits(), lambda x: setattr(_Base, "floor", x)),
        "class as settings": (lambda w: _above(w, _Base.floor), lambda x: setattr(_Base, "floor", x)),
        "long list": (lambda w: _above(w, max(NAMED)), lambda x: NAMED.__setitem__(80, x)),
        "set": (lambda w: _above(w, max(floors)), set_only),
        "helpers": (lambda w: _above(w, _helper()), set_deep),
        "lambda within": (inner, set_deep),
        "namespace": (lambda w: _above(w, names.a.floor), lambda x: setattr(names.a, "floor", x)),
    }


@pytest.mark.parametrize("where", list(_hidden_settings()))
def test_settings_that_change_between_calls(where):
    """They take effect late in the run: the first step does not tell."""
    loss, change = _hidden_settings()[where]
    change(0.0)
    task = mg.FunctionTask(loss, w0=np.array([[1.0, -0.5, 0.7], [0.2, 0.9, -1.3]]))
    ask = task, mg.GradientDescent(), mg.WeightedSum(), 0.01
    for floor in (0.0, 0.0, 0.05, 0.05, 0.02):
        change(floor)
        assert bits(mg.Reverse()(*ask, steps=60)) == bits(mg.Reverse(fused=False)(*ask, steps=60))
    change(0.0)


def test_what_is_too_deep_to_be_looked_at_is_compared_in_every_run():
    place = end = types.SimpleNamespace()
    for _ in range(12):
        end.next = types.SimpleNamespace()
        end = end.next
    end.floor = 0.0

    def loss(w):
        found = place
        while not hasattr(found, "floor"):
            found = found.next
        return _above(w, found.floor)

    assert Kept(loss).is_cut
    task = mg.FunctionTask(loss, w0=np.array([[1.0, -0.5, 0.7], [0.2, 0.9, -1.3]]))
    ask = task, mg.GradientDescent(), mg.WeightedSum(), 0.01
    for floor in (0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.05, 0.02):
        end.floor = floor
        assert bits(mg.Reverse()(*ask, steps=60)) == bits(mg.Reverse(fused=False)(*ask, steps=60))


@pytest.mark.parametrize("size", [1 << 10, 1 << 16, 1 << 20])
@pytest.mark.parametrize("kind", ["float64", "float32", "uint8"])
def test_data_that_turn_or_double_are_seen(size, kind):
    x = rng(1, "turn").integers(1, 9, size).astype(kind)
    was = Kept({"x": x}, whole=True).seen
    x *= 2
    assert Kept({"x": x}, whole=True).seen != was
