"""Classification of images by small fully connected networks, trained on minibatches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metagrad import ad
from metagrad import checks as arguments
from metagrad.data.images import ImageData, check_labels
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Tree
from metagrad.tasks import _checks as checks
from metagrad.tasks._batches import epoch_rows, orders
from metagrad.tasks._network import MLP
from metagrad.xp import Array, namespace, picked
from metagrad.xp import rng as named_stream

_WHERE = "MLPClassifier"
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class MLPClassifier:
    """f_b(w) = mean_i log(1 + sum_c exp(z_ic - z_iy)), c not the label y of i, z = net(w, x): the mean cross-entropy.

    It and its gradient keep their digits however sure the network is of the right class. B networks side by side.

    `x` (n, p) for images shared by all networks or (B, n, p), in one float dtype, which is that of w; `y` (n,) or
    (B, n), integer labels below `net.sizes[-1]`; `validation` and `test`, pairs of such arrays. `count`: B, where the
    arrays do not say it. w is a tuple (W_1, b_1, W_2, b_2, ...), each (B, ...), drawn anew by `init`.
    `batch_size`: how many of a network's own n samples its loss sees at a step, None for all. They are drawn with
    replacement, a function of (seed, t) alone; or in epochs where `epoch_seed` is an integer: all samples in random
    order, an incomplete last batch dropped, reshuffled by (epoch_seed, epoch), whatever the seed of the unroll.
    A wrong shape or value raises ValueError, a wrong kind TypeError. A loss that overflows is a Status of the unroll.
    Source: Andrychowicz et al. 2016, section 3.2, and the public code of Wang et al. 2021, experiment 3.
    """

    net: MLP
    x: Array
    y: Array
    validation: tuple[Array, Array] | None = None
    test: tuple[Array, Array] | None = None
    count: int | None = None
    batch_size: int | None = 128
    epoch_seed: int | None = None

    def __post_init__(self) -> None:
        """Check the data, and bring labels to the shape (B, n)."""
        if not isinstance(self.net, MLP):
            bad_type(_WHERE, "net", f"a {type(self.net).__name__}", "an MLP", "For example MLP((784, 20, 10)).")
        if self.net.sizes[-1] == 1:
            bad_value(
                _WHERE, "net", "one with 1 output", "an output for each of at least 2 classes", "Or MLPRegressor."
            )
        parts = {"train": (self.x, self.y)}
        parts |= {part: self._pair(part) for part in ("validation", "test") if getattr(self, part) is not None}
        counts = {"count": self.count}
        for part, (x, y) in parts.items():
            _check_samples(self.net, part, x, y)
            counts[f"x of {part}"] = x.shape[0] if x.ndim == 3 else None
            counts[f"y of {part}"] = y.shape[0] if y.ndim == 2 else None
        checks.check_alike(_WHERE, {f"x of {part}": x for part, (x, _) in parts.items()})
        if self.count is not None:
            arguments.count(_WHERE, "count", self.count)
        count = checks.task_count(_WHERE, counts)
        xp = namespace(self.x)
        parts = {k: (x, xp.ascontiguousarray(xp.broadcast_to(y, (count, y.shape[-1])))) for k, (x, y) in parts.items()}
        for field, value in {"count": count, "y": parts.pop("train")[1], **parts}.items():
            object.__setattr__(self, field, value)
        checks.check_epochs(_WHERE, self.batch_size, self.epoch_seed, self.n)

    def _pair(self, part: str) -> tuple[Array, Array]:
        pair = getattr(self, part)
        if not isinstance(pair, tuple) or len(pair) != 2:
            bad_type(_WHERE, part, f"a {type(pair).__name__}", "a pair (x, y)")
        return pair

    @property
    def networks(self) -> int:
        """The number of networks, B."""
        return int(self.y.shape[0])

    @property
    def n(self) -> int:
        """The number of training samples of a network."""
        return int(self.x.shape[-2])

    def init(self, rng: np.random.Generator) -> Tree:
        """Return (W_1, b_1, W_2, b_2, ...), each (B, ...), drawn as `net` says."""
        xp = namespace(self.x)
        return tuple(xp.asarray(weights) for weights in self.net.draw(rng, self.networks, self.x.dtype))

    @property
    def full_batch(self) -> bool:
        """Whether every step sees all samples."""
        return self.batch_size is None

    def sample(self, rng: np.random.Generator, t: int) -> Any:
        """Return which of their training samples the networks see at step t, (B, batch_size); None for all."""
        if self.batch_size is None:
            return None
        if self.epoch_seed is None:
            return rng.integers(self.n, size=(self.networks, self.batch_size))
        return epoch_rows(self.epoch_seed, t, self.networks, self.n, self.batch_size)

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the mean cross-entropy (B,) on the samples drawn, or on all where `sample` is None."""
        x, y = self._rows(sample)
        return self._cross_entropy(w, x, y)

    def gradient(self, w: Tree, sample: Any) -> Tree:
        """Return the gradient of `loss`: backpropagation of (softmax(z) - one-hot(y))/n."""
        x, y = self._rows(sample)
        layers = self.net.layers(w, x)
        z, right = layers[-1], self._right_class(y)
        wrong = np.where(right, 0.0, ad.softmax(_ahead(z, right)))
        # the probability of the right class, minus 1, as minus the sum of the others: 1 would round them away
        cotangent = np.where(right, -np.sum(wrong, axis=-1, keepdims=True), wrong) / y.shape[-1]
        return self.net.pullback(w, layers, cotangent)

    def train_loss(self, w: Tree) -> Array:
        """Return the mean cross-entropy on all training samples, shape (B,)."""
        return self._cross_entropy(w, self.x, self.y)

    def validation_loss(self, w: Tree) -> Array:
        """Return the mean cross-entropy on the validation samples, shape (B,); ValueError without any."""
        return self._cross_entropy(w, *self._samples("validation"))

    def test_loss(self, w: Tree) -> Array:
        """Return the mean cross-entropy on the test samples, shape (B,); ValueError without any."""
        return self._cross_entropy(w, *self._samples("test"))

    def accuracy(self, w: Tree, part: Part = "test") -> Array:
        """Return the share (B,) of the samples of a part that the networks classify as they are labelled."""
        x, y = self._samples(part)
        return (np.argmax(self.net.outputs(w, x), axis=-1) == y).mean(axis=-1)

    def _samples(self, part: Part) -> tuple[Array, Array]:
        if part == "train":
            return self.x, self.y
        if part not in ("validation", "test"):
            bad_value(_WHERE, "part", repr(part), "'train', 'validation' or 'test'")
        samples: tuple[Array, Array] | None = getattr(self, part)
        if samples is None:
            bad_value(_WHERE, part, "None", f"{part} samples", f"Give {part}=(x, y), or use image_classifiers.")
        return samples

    def _rows(self, sample: Any) -> tuple[Array, Array]:
        if sample is None:
            return self.x, self.y
        tasks = namespace(self.x).arange(self.networks)[:, None]
        return (picked(self.x, sample) if self.x.ndim == 2 else picked(self.x, tasks, sample)), picked(
            self.y, tasks, sample
        )

    def _cross_entropy(self, w: Tree, x: Array, y: Array) -> Array:
        z, right = self.net.outputs(w, x), self._right_class(y)
        others = ad.logsumexp(np.where(right, -np.inf, _ahead(z, right)), axis=-1)
        return np.mean(np.logaddexp(0.0, others), axis=-1)

    def _right_class(self, y: Array) -> Array:
        """Return where the class is that of the label, (B, n, classes)."""
        return y[..., None] == namespace(y).arange(self.net.sizes[-1])


def image_classifiers(
    data: ImageData,
    net: MLP,
    count: int = 1,
    *,
    train: int | None = None,
    validation: int = 0,
    seed: int = 0,
    dtype: Any = np.float32,
    **batches: Any,
) -> MLPClassifier:
    """Return `count` networks that learn from `train` and are validated on `validation` of the training images.

    Which images those are is drawn for each network by `seed`, without replacement; train=None takes all that are left.
    The test images are those of the data. `batches`: batch_size and epoch_seed of `MLPClassifier`. ValueError where the
    network does not fit the data, or more images are asked for than there are.
    Source: train-by-validation 1000 + 1000 of Wang et al. 2021 is train=1000, validation=1000. (Permuting the classes,
    as their code does, changes nothing in distribution for rules that treat the coordinates of a tensor alike: the
    initial weights of the outputs are exchangeable.)
    """
    where = "image_classifiers"
    arguments.instance(where, "data", data, ImageData)
    arguments.instance(where, "net", net, MLP)
    arguments.float_dtype(where, "dtype", dtype)
    n = len(data.train_y)
    if net.sizes[-1] != data.classes:
        bad_value(where, "net", f"one with {net.sizes[-1]} outputs", f"{data.classes}, one for each class of the data")
    arguments.count(where, "count", count)
    if not (isinstance(validation, int) and validation == 0):
        arguments.count(where, "validation", validation)
    train = n - validation if train is None else train
    arguments.count(where, "train", train)
    if train + validation > n:
        bad_value(where, "train + validation", train + validation, f"at most the {n} training images of {data.name}")
    x, test = data.train_x.astype(dtype, copy=False), (data.test_x.astype(dtype, copy=False), data.test_y)
    if train == n:
        return MLPClassifier(net, x, data.train_y, test=test, count=count, **batches)
    order = namespace(x).asarray(orders(named_stream(seed, where, count, n), count, n))
    rows, rest = order[:, :train], order[:, train : train + validation]
    held = (x[rest], data.train_y[rest]) if validation else None
    return MLPClassifier(net, x[rows], data.train_y[rows], held, test, **batches)


def _ahead(z: Array, right: Array) -> Array:
    """Return how far each class is ahead of the right one."""
    return z - np.sum(np.where(right, z, 0.0), axis=-1, keepdims=True)


def _check_samples(net: MLP, part: str, x: Any, y: Any) -> None:
    checks.check_array(_WHERE, f"x of {part}", x)
    inputs = net.sizes[0]
    if x.ndim not in (2, 3) or x.shape[-1] != inputs or 0 in x.shape:
        expected = f"(n, {inputs}) or (B, n, {inputs}), as the network has {inputs} inputs"
        bad_value(_WHERE, f"x of {part}", f"of shape {x.shape}", expected, "One image a row: x.reshape(n, -1).")
    check_labels(_WHERE, f"y of {part}", y, net.sizes[-1])
    namespace(x, y, where=_WHERE)
    if y.ndim not in (1, 2) or y.shape[-1] != x.shape[-2]:
        expected = f"one label for each of the {x.shape[-2]} images, ({x.shape[-2]},) or (B, {x.shape[-2]})"
        bad_value(_WHERE, f"y of {part}", f"of shape {y.shape}", expected)
