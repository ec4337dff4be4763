"""Images with labels, from files or packages that the user has; nothing here downloads."""

from metagrad.data.digits import load_digits8x8, load_digits5000
from metagrad.data.idx import read_idx
from metagrad.data.images import ImageData, noisy_labels
from metagrad.data.mnist import load_fashion_mnist, load_mnist

__all__ = [
    "ImageData",
    "load_digits8x8",
    "load_digits5000",
    "load_fashion_mnist",
    "load_mnist",
    "noisy_labels",
    "read_idx",
]
