"""The linear systems of the implicit gradient: against SciPy, by how many products, and tasks without a solution."""

import numpy as np
import pytest
from scipy.sparse.linalg import cg

import metagrad as mg
from metagrad.estimators.implicit.solvers import Asked, Solution, solved

OK = mg.Status.OK.code
UNSOLVED, INDEFINITE = mg.Status.INNER_UNSOLVED.code, mg.Status.INNER_INDEFINITE.code


class Counted:
    """Products with matrices (B, D, D), which are counted."""

    def __init__(self, matrices):
        self.matrices, self.count = matrices, 0

    def __call__(self, rows):
        self.count += 1
        return np.einsum("bij,bj->bi", self.matrices, rows)


def drawn(seed, count=4, d=7, spread=3.0):
    r = np.random.default_rng(seed)
    vectors = np.linalg.qr(r.standard_normal((count, d, d)))[0]
    return np.einsum("bij,bj,bkj->bik", vectors, 10 ** r.uniform(0, spread, (count, d)), vectors), r.standard_normal(
        (count, d)
    )


def value(solution):
    return solution.v * 2.0 ** solution.exponent[:, None]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("products", [1, 2, 5, 7])
def test_each_task_has_the_iterates_of_scipy_alone(seed, products):
    H, r = drawn(seed)
    found = value(solved(Counted(H), r, Asked("cg", 1e-15, products, None)))
    for b in range(len(H)):
        alone, _ = cg(H[b], r[b], rtol=0, atol=0, maxiter=products)
        np.testing.assert_allclose(found[b], alone, rtol=1e-6, atol=1e-9 * np.abs(alone).max())


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_a_hard_task_takes_no_products_of_the_others(limit):
    """`limit` is of products over the batch, whoever is left: two more tell sizes and the residual."""
    H, r = drawn(0, spread=0.5)
    H[2] = np.diag(np.geomspace(1, 1e12, 7))
    product = Counted(H)
    found = solved(product, r, Asked("cg", 1e-10, limit, None))
    assert product.count <= limit + 2
    assert found.code[2] == UNSOLVED or limit == 50
    if limit == 50:
        assert (found.code[[0, 1, 3]] == OK).all()


def test_a_start_nearby_saves_products():
    H, r = drawn(1)
    first = solved(Counted(H), r, Asked("cg", 1e-10, 100, None))
    cold, warm = Counted(H), Counted(H)
    again = solved(cold, r * (1 + 1e-9), Asked("cg", 1e-12, 100, None))
    went_on = solved(warm, r * (1 + 1e-9), Asked("cg", 1e-12, 100, None), first)
    assert warm.count < cold.count
    np.testing.assert_allclose(value(went_on), value(again), rtol=1e-9)
    far = Solution(np.full_like(first.v, 1e6), first.exponent, first.code)
    np.testing.assert_allclose(value(solved(cold, r, Asked("cg", 1e-12, 100, None), far)), value(first), rtol=1e-7)


@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_a_task_without_a_solution_is_nan_and_alone(solver):
    H, r = drawn(2)
    H[1] = -np.eye(7)
    H[3, 0, 0] = np.nan
    r[2] = 0
    found = solved(Counted(H), r, Asked(solver, 1e-10, 100, None))
    assert found.code.tolist() == [OK, INDEFINITE, OK, UNSOLVED]
    assert np.isnan(found.v[[1, 3]]).all()
    assert (found.v[2] == 0).all()
    np.testing.assert_allclose(value(found)[0], np.linalg.solve(H[0], r[0]), rtol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [-100, -40, 0, 40, 100])
def test_sizes_do_not_matter(dtype, power):
    H, r = drawn(3, spread=1.0)
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    scaled = (H * 2.0**power).astype(dtype)
    found = solved(Counted(scaled), r.astype(dtype), Asked("cg", tolerance, 100, None))
    assert (found.code == OK).all()
    assert found.v.dtype == dtype
    expected = np.linalg.solve(scaled.astype(float) * 2.0**-power, r.astype(dtype).astype(float)[..., None])[..., 0]
    found = found.v.astype(float) * 2.0 ** (found.exponent + power)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e3 * tolerance, atol=1e3 * tolerance)
