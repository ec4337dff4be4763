"""Few-shot problems: what is drawn, that nothing is in support and query, and problems that cannot be solved."""

import numpy as np
import pytest

from metagrad.data import Characters, Episodes, draw_episodes, split_alphabets


def characters(count=6, drawings=20, alphabets=("A", "B", "C")):
    """Characters whose every drawing is told by its value: number c * drawings + k, scaled into [0, 1]."""
    values = np.arange(count * drawings, dtype=np.float32).reshape(count, drawings, 1, 1) / (count * drawings)
    names = tuple(alphabets[c * len(alphabets) // count] for c in range(count))
    return Characters(np.broadcast_to(values, (count, drawings, 2, 2)).copy(), names)


def which(x, drawings=20, count=6):
    """Return character and drawing of images (B, n, p)."""
    return np.divmod(np.round(x[..., 0] * count * drawings).astype(int), drawings)


def test_classes_and_drawings():
    drawn = draw_episodes(characters(), ways=4, shots=3, queries=5, count=50, seed=1)
    assert drawn.support_x.shape == (50, 12, 4)
    assert drawn.query_x.shape == (50, 20, 4)
    assert drawn.count == 50
    for part in ("support", "query"):
        x, y = getattr(drawn, f"{part}_x"), getattr(drawn, f"{part}_y")
        character, _ = which(x)
        for b in range(50):  # each label is one character, and each character one label
            pairs = set(zip(y[b].tolist(), character[b].tolist(), strict=True))
            assert len(pairs) == len({one for one, _ in pairs}) == len({one for _, one in pairs}) == 4
            assert np.bincount(y[b]).tolist() == [{"support": 3, "query": 5}[part]] * 4


def test_no_drawing_is_in_support_and_query():
    drawn = draw_episodes(characters(), ways=5, shots=10, queries=10, count=30)
    for support, query in zip(drawn.support_x[..., 0], drawn.query_x[..., 0], strict=True):
        assert len({*support.tolist(), *query.tolist()}) == 100


def test_the_seed_decides():
    one, again, other = (draw_episodes(characters(), 3, 1, 1, 8, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.support_x, again.support_x)
    assert (one.support_x != other.support_x).any()


def test_characters_are_drawn_alike():
    """Each of 6 is in half of the problems of 3: 2000 problems, six standard deviations."""
    drawn = draw_episodes(characters(), 3, 1, 1, 2000)
    counts = np.bincount(which(drawn.support_x)[0].ravel(), minlength=6)
    assert np.abs(counts / 2000 - 0.5).max() < 6 * np.sqrt(0.25 / 2000)


@pytest.mark.parametrize("seed", range(5))
def test_no_alphabet_is_in_both_parts(seed):
    train, test = split_alphabets(characters(), 1, seed)
    assert len(test.known) == 1
    assert len(train.known) == 2
    assert not set(train.known) & set(test.known)
    assert len(train.images) + len(test.images) == 6
    assert not set(train.images.ravel()) & set(test.images.ravel())


def test_every_alphabet_is_tested_at_some_seed():
    assert {split_alphabets(characters(), 1, seed)[1].known for seed in range(30)} == {("A",), ("B",), ("C",)}


def test_turned_characters_are_classes_of_their_own():
    images = np.zeros((1, 2, 3, 3), np.float32)
    images[0, 0, 0, 1] = 1.0  # a dot above
    turned = Characters(images, ("A",)).turned()
    assert turned.alphabets == ("A",) * 4
    dots = [tuple(np.argwhere(x[0])[0].tolist()) for x in turned.images]
    assert dots == [(0, 1), (1, 0), (2, 1), (1, 2)]


def parts(**changes):
    x, y = np.zeros((2, 6, 4), np.float32), np.array([[0, 1, 2, 0, 1, 2]] * 2)
    return {"support_x": x, "support_y": y, "query_x": x[:, :3], "query_y": y[:, :3], "ways": 3} | changes


BAD = {
    "a class without a sample": (
        {"support_y": np.array([[0, 1, 2, 0, 1, 2], [0, 1, 1, 0, 1, 0]])},
        "support_y is without class 2 in problem 1; expected a sample of each of the 3 classes",
    ),
    "no query": ({"query_x": np.zeros((2, 0, 4), np.float32), "query_y": np.zeros((2, 0), int)}, "query_x is of shape"),
    "a label too few": ({"support_y": np.zeros((2, 5), int)}, r"support_y is of shape \(2, 5\); expected a label for"),
    "a label out of range": ({"query_y": np.full((2, 3), 3)}, "query_y is outside .* expected labels from 0 to 2"),
    "queries of another size": ({"query_x": np.zeros((2, 3, 5), np.float32)}, r"query_x is \(2, 3, 5\)"),
    "queries of another dtype": ({"query_x": np.zeros((2, 3, 4))}, "query_x is .* of float64"),
    "one class": ({"ways": 1}, "ways is 1; expected an integer of at least 2"),
}


@pytest.mark.parametrize("what", BAD)
def test_problems_that_cannot_be(what):
    changes, message = BAD[what]
    Episodes(**parts())
    with pytest.raises(ValueError, match=f"Episodes: {message}"):
        Episodes(**parts(**changes))


def test_labels_that_are_no_integers():
    with pytest.raises(TypeError, match="Episodes: query_y is an array of float64; expected an array of integer"):
        Episodes(**parts(query_y=np.zeros((2, 3))))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((7, 1, 1, 1), "ways is 7; expected at most the 6 characters"),
        ((5, 15, 6, 1), "shots is 15 shots and 6 queries; expected together at most the 20 drawings"),
        ((5, 1, 0, 1), "queries is 0; expected an integer of at least 1"),
        ((5, 0, 1, 1), "shots is 0; expected an integer of at least 1"),
    ],
)
def test_more_than_there_is(sizes, message):
    with pytest.raises(ValueError, match=f"draw_episodes: {message}"):
        draw_episodes(characters(), *sizes)


def test_alphabets_that_are_not_there():
    with pytest.raises(ValueError, match=r"alphabets is 'a'; expected an alphabet that is there. Known: 'A', 'B', 'C'"):
        characters().of(["a"])
    with pytest.raises(ValueError, match=r"test is 3; expected fewer than the 3 alphabets that there are \(A, B, C\)"):
        split_alphabets(characters(), 3)
    with pytest.raises(ValueError, match="alphabets is of 2 characters; expected one for each of the 3"):
        Characters(np.zeros((3, 2, 4, 4), np.float32), ("A", "B"))
