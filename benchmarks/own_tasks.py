"""What a user writes: five losses and a rule in plain NumPy code, with their data, for `own_loss`.

`logistic`: the README's logistic regression. `decayed`: that with a weight decay, tuned beside the step size.
`classes`: softmax regression on integer labels, one for each point. `network`: two layers, tanh, softmax
cross-entropy, a minibatch a step. `lstm_rule`: least squares, descended by a coordinate-wise LSTM (Andrychowicz et al.
2016, one layer) whose weights are the meta-parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GD, ADAM, LSTM = "GD", "Adam", "LSTM"
GD_PHI: tuple[float, ...] = (0.5,)
DECAY = -3.0  # its logarithm
ADAM_PHI = (0.05, 0.9, 0.999, 1e-8)  # eta, beta1, beta2, eps
FORGET_MORE = 1.0  # added to the forget gate


@dataclass(frozen=True)
class Case:
    """One problem: its kind, its sizes, T, the rule and the dtype.

    Sizes are (B, n, d) of a regression (then the classes, or the hidden units of the LSTM), or (inputs, hidden,
    classes, batch).
    """

    kind: str
    sizes: tuple[int, ...]
    steps: int
    rule: str = GD
    dtype: str = "float64"
    seed: int = 0

    @property
    def what(self) -> str:
        """The case in words."""
        if self.kind == "network":
            *layers, batch = self.sizes
            return f"own {'-'.join(map(str, layers))} network, batch {batch}, T = {self.steps}, GD, {self.dtype}"
        name, more = {
            "lstm_rule": ("own LSTM rule", f"{self.sizes[-1]} hidden"),
            "decayed": ("own loss with a decay that is tuned", self.rule),
            "classes": ("own loss on labels", f"{self.sizes[-1]} classes, {self.rule}"),
        }.get(self.kind, ("own loss", self.rule))
        sizes = ", ".join(f"{key} = {size}" for key, size in zip("Bnd", self.sizes, strict=False))
        return f"{name}: {sizes}, T = {self.steps}, {more}, {self.dtype}"


@dataclass(frozen=True)
class Given:
    """A case's numbers, the same for ours and for every peer: `samples` says that the data lead with t = 0..T."""

    data: tuple[NDArray[Any], ...]
    w0: tuple[NDArray[Any], ...]
    phi: tuple[Any, ...]
    samples: bool = False


class LstmPhi(NamedTuple):
    """The weights of a layer, (1 + H, 4 H) and (4 H,), and of what comes out, (H,) and ()."""

    weight: Any
    bias: Any
    out: Any
    shift: Any


def given(case: Case, start: float = 0.0) -> Given:
    """Return the case's numbers; a regression's w0 is `start` times a normal draw: 0 as in the README, or near it."""
    stream, dtype = np.random.default_rng(case.seed), np.dtype(case.dtype)
    if case.kind == "network":
        return _network(case, stream)
    x = stream.standard_normal(case.sizes[:3])
    if case.kind == "classes":
        w0 = start * stream.standard_normal((case.sizes[0], *case.sizes[2:]))
        labels = stream.integers(case.sizes[3], size=case.sizes[:2])
        return Given((x.astype(dtype), labels), (w0.astype(dtype),), (np.asarray(*GD_PHI, dtype),))
    targets = x[..., 0] > 0.3 if case.kind in ("logistic", "decayed") else x @ stream.standard_normal(case.sizes[2])
    w0 = start * stream.standard_normal((case.sizes[0], case.sizes[2]))
    phi: Any = _lstm_phi(case.sizes[3], stream) if case.kind == "lstm_rule" else _phi(case.rule)
    phi = (*phi, DECAY) if case.kind == "decayed" else phi
    x, y, w0, *phi = (np.asarray(a, dtype) for a in (x, targets, w0, *phi))
    return Given((x, y), (w0,), tuple(phi))


def _phi(rule: str) -> tuple[float, ...]:
    return ADAM_PHI if rule == ADAM else GD_PHI


def _lstm_phi(hidden: int, stream: np.random.Generator) -> LstmPhi:
    weight = stream.standard_normal((1 + hidden, 4 * hidden)) / np.sqrt(1 + hidden)
    return LstmPhi(weight, np.zeros(4 * hidden), stream.standard_normal(hidden) / hidden, np.zeros(()))


def _network(case: Case, stream: np.random.Generator) -> Given:
    inputs, hidden, classes, batch = case.sizes
    images, labels = _digits(inputs, classes, stream)
    seen = stream.integers(0, len(labels), (case.steps + 1, batch))
    x, y = images[seen], np.eye(classes)[labels[seen]]
    w0 = []
    for m, k in ((inputs, hidden), (hidden, classes)):
        w0 += [stream.standard_normal((1, m, k)) / np.sqrt(m), np.zeros((1, k))]
    dtype = np.dtype(case.dtype)
    x, y, *rest = (np.asarray(a, dtype) for a in (x, y, *w0, *_phi(case.rule)))
    return Given((x, y), tuple(rest[:4]), tuple(rest[4:]), samples=True)


def _digits(inputs: int, classes: int, stream: np.random.Generator) -> tuple[Any, Any]:
    """Return real digits where they fit and the extra `data` is there, else noise: what is in them costs nothing."""
    from metagrad.data import load_digits5000

    try:
        if (inputs, classes) == (784, 10):
            found = load_digits5000()
            return found.train_x, found.train_y
    except ImportError:
        pass
    return stream.random((1000, inputs)), stream.integers(0, classes, 1000)


def parts(case: Case, numbers: Given) -> tuple[Any, Any, Any]:
    """Return the task, the rule and phi, as a user has them."""
    import metagrad as mg

    if case.kind == "lstm_rule":
        return _regression(numbers), OwnLSTM(case.sizes[3]), LstmPhi(*numbers.phi)
    task = {"logistic": _logistic, "decayed": _decayed, "classes": _classes, "network": _classifier}[case.kind](numbers)
    rule = mg.Adam() if case.rule == ADAM else mg.GradientDescent()
    if case.kind == "decayed":
        *of_rule, theta = numbers.phi
        return task, rule, mg.Joint(rule=type(rule).Phi(*of_rule), task=theta)
    return task, rule, type(rule).Phi(*numbers.phi)


def _logistic(numbers: Given) -> Any:
    import metagrad as mg

    x, y = numbers.data

    def loss(w: Any) -> Any:
        z = np.einsum("bni,bi->bn", x, w)
        return np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0.0) - y * z, axis=-1)

    return mg.FunctionTask(loss, w0=numbers.w0[0])


def _decayed(numbers: Given) -> Any:
    import metagrad as mg

    x, y = numbers.data

    def loss(w: Any, theta: Any) -> Any:
        z = np.einsum("bni,bi->bn", x, w)
        losses = np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0.0) - y * z, axis=-1)
        return losses + np.exp(theta) * np.sum(w * w, axis=-1)

    return mg.FunctionTask(loss, w0=numbers.w0[0], theta=numbers.phi[-1])


def _classes(numbers: Given) -> Any:
    import metagrad as mg

    x, y = numbers.data

    def loss(w: Any) -> Any:
        z = x @ w
        z = z - np.max(z, axis=-1, keepdims=True)
        picked = np.take_along_axis(z, y[..., None], axis=-1)[..., 0]
        return np.mean(np.log(np.sum(np.exp(z), axis=-1)) - picked, axis=-1)

    return mg.FunctionTask(loss, w0=numbers.w0[0])


def _classifier(numbers: Given) -> Any:
    import metagrad as mg

    x, y = numbers.data

    def loss(w: Any, sample: Any) -> Any:
        (W1, b1, W2, b2), (images, labels) = w, sample
        hidden = np.tanh(images @ W1 + b1[:, None, :])
        z = hidden @ W2 + b2[:, None, :]
        z = z - np.max(z, axis=-1, keepdims=True)
        log_sum = np.log(np.sum(np.exp(z), axis=-1))
        return np.mean(log_sum - np.sum(labels * z, axis=-1), axis=-1)

    return mg.FunctionTask(loss, w0=numbers.w0, sampler=lambda _rng, t: (x[t], y[t]))


def _regression(numbers: Given) -> Any:
    import metagrad as mg

    x, y = numbers.data

    def loss(w: Any) -> Any:
        residual = np.einsum("bni,bi->bn", x, w) - y
        return np.mean(residual * residual, axis=-1) / 2

    return mg.FunctionTask(loss, w0=numbers.w0[0])


@dataclass(frozen=True)
class OwnLSTM:
    """A rule as a user writes it: an LSTM of `hidden` units beside every coordinate reads the gradient, and moves w."""

    hidden: int

    def init(self, phi: Any, w: Any) -> Any:
        """Return h = c = 0, (B, d, H)."""
        zeros = np.zeros((*w.shape, self.hidden), w.dtype)
        return zeros, zeros

    def step(self, phi: Any, state: Any, w: Any, f: Any) -> Any:
        """Return the next w and the next h and c."""
        h, c = state
        z = np.concatenate((f.gradient(w)[..., None], h), axis=-1) @ phi.weight + phi.bias
        i, j, forget, o = np.split(z, 4, axis=-1)
        c = _sigmoid(forget + FORGET_MORE) * c + _sigmoid(i) * np.tanh(j)
        h = _sigmoid(o) * np.tanh(c)
        return w + np.sum(h * phi.out, axis=-1) + phi.shift, (h, c)


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))
