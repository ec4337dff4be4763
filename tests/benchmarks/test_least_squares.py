"""The least-squares cases at tiny sizes: every way computes the same numbers; no timing is asserted."""

import numpy as np
import pytest

from benchmarks import grid_recipe, grid_theory, least_squares, peers
from benchmarks.results import relative_difference
from benchmarks.settings import Settings

TINY = {"wide": (12, 20), "tall": (24, 6)}


@pytest.mark.parametrize("size", TINY.values(), ids=TINY)
@pytest.mark.parametrize("way", grid_theory.WAYS.values(), ids=grid_theory.WAYS)
def test_every_way_is_the_recipe(way, size):
    n, d = size
    grid = grid_recipe.random_grid(n, d, steps=5, count=9)
    expected = grid_recipe.losses(grid)
    assert relative_difference(way(grid), expected) < 1e-11


def test_the_recipe_truncates_and_the_losses_say_so():
    grid = grid_recipe.random_grid(n=12, d=20, steps=30, count=7)
    losses = grid_recipe.losses(grid)
    residual = 40 * grid.X @ grid.direction - grid.y
    assert losses[0, -1] == pytest.approx(residual @ residual / 24, rel=1e-12)
    assert losses[0, 0] == pytest.approx(grid.y @ grid.y / 24, rel=1e-3)


def test_the_rows_compare_with_the_peers_that_are_there():
    grid = grid_recipe.random_grid(n=12, d=20, steps=5, count=4)
    found, _ = peers.load_all(["jax"], least_squares.PEERS)
    rows = least_squares.compare(grid, found, Settings(repetitions=1))
    assert {row.peer for row in rows} == set(least_squares.calls(grid, found)) - set(grid_theory.WAYS)
    assert all(row.agrees for row in rows)
    assert sum(row.target is not None for row in rows) == 1 + 2 * len(found)


def test_a_wrong_way_does_not_agree(monkeypatch):
    monkeypatch.setitem(grid_theory.WAYS, "wrong", lambda grid: 1.01 * grid_recipe.losses(grid))
    grid = grid_recipe.random_grid(n=8, d=10, steps=3, count=3)
    rows = least_squares.compare(grid, {}, Settings(repetitions=1))
    assert [row.agrees for row in rows] == [True, True, True, False]


def test_the_grid_is_the_papers():
    grid = grid_recipe.random_grid(n=4, d=3, steps=2, count=25)
    assert np.allclose(np.log10(grid.etas), np.linspace(-6, 0, 25))
    assert grid.half == 2
