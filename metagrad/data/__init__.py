"""Images with labels, from files or packages that the user has; nothing here downloads."""

from metagrad.data.characters import Characters, split_alphabets
from metagrad.data.digits import load_digits8x8, load_digits5000
from metagrad.data.episodes import Episodes, draw_episodes
from metagrad.data.idx import read_idx
from metagrad.data.images import ImageData, noisy_labels
from metagrad.data.mnist import load_fashion_mnist, load_mnist
from metagrad.data.omniglot import load_omniglot

__all__ = [
    "Characters",
    "Episodes",
    "ImageData",
    "draw_episodes",
    "load_digits8x8",
    "load_digits5000",
    "load_fashion_mnist",
    "load_mnist",
    "load_omniglot",
    "noisy_labels",
    "read_idx",
    "split_alphabets",
]
