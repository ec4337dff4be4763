"""What figures share: letters of panels, intervals that go on beyond an axis, and maps of who wins."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from paper_figs.framework import maps, style


@pytest.fixture
def axes():
    with style.styled():
        figure, found = style.new_figure(1, 3)
        yield found
    plt.close(figure)


def test_panels_get_letters_and_those_that_are_off_none(axes):
    axes[0].set_title("one")
    axes[1].axis("off")
    style.letter(axes)
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == [r"$\mathbf{(a)}$ one", "", r"$\mathbf{(b)}$"]


def test_intervals_beyond_the_axis_are_marked_where_they_leave_it(axes):
    ax, x = axes[0], np.array([1.0, 2.0, 3.0])
    ax.set_ylim(-1, 1)
    assert not style.cut(ax, x, (np.full(3, -1.0), np.full(3, 1.0)))
    assert not ax.lines
    assert style.cut(ax, x, (np.array([-2.0, 0.0, -1.5]), np.array([0.5, 3.0, 0.5])))
    down, up = ax.lines
    assert (down.get_xdata().tolist(), down.get_ydata().tolist()) == ([1.0, 3.0], [0.0, 0.0])
    assert (up.get_xdata().tolist(), up.get_ydata().tolist()) == ([2.0], [1.0])
    assert ax.get_ylim() == (-1, 1)


def test_the_boundary_is_where_the_last_sign_changes():
    y = np.array([1.0, 10.0, 100.0, 1000.0])
    logs = np.array([[-1, 1, -1, 1.0], [1, 1, -1, 2.0], [-1, 1, -1, -3.0], [3, 1, -1, 1.0]]).T
    np.testing.assert_allclose(maps.above(y, logs[:, [0]]), [10**2.5])
    found = maps.above(y, np.array([[-1, -1, -1, 3], [1, 1, 1, 1], [1, 1, 1, -1], [1, -1, np.nan, 1]], float).T)
    np.testing.assert_allclose(found[:1], [10**2.25])
    assert np.isnan(found[1:]).all()


def test_a_hatch_marks_what_is_clearly_negative(axes):
    x, y = np.arange(3.0), np.arange(2.0)
    maps.two_sided(axes[0], x, y, np.array([[0.5, 0.0, -0.005], [0.5, 0.0, 0.1]]))
    assert not any(getattr(art, "hatches", None) for art in axes[0].collections)
    shade = maps.two_sided(axes[1], x, y, np.array([[0.5, 0.0, -0.5], [0.5, 0.0, -0.5]]), largest=2.0)
    (hatch,) = [art for art in axes[1].collections if getattr(art, "hatches", None)]
    assert shade.get_clim() == (-2.0, 2.0)
    path = hatch.get_paths()[0]
    assert path.contains_point((2.0, 0.5), radius=-1e-9) or path.contains_point((1.9, 0.5))
    assert not path.contains_point((0.5, 0.5))
