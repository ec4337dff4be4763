"""Figures as people see them: labelled axes, lines that grey keeps apart, data in sight, and pictures of the data."""

import re
import string
from itertools import combinations, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import Container, ErrorbarContainer

from analysis.framework import contract
from paper_figs.framework import results
from paper_figs.framework.style import NARROWEST, styled
from tests.analysis.test_evidence import SAVED

_APART = 0.08  # of lightness, from 0 to 1


@pytest.fixture(scope="module", params=contract.names())
def drawn(request):
    """The result of an experiment, and its figure."""
    result = results.load_result(request.param, SAVED, "quick", 0)
    with styled():
        figure = results.load_figure(request.param).draw(result)
        figure.canvas.draw()
    yield result, figure
    plt.close(figure)


def panels(figure):
    """The axes that have something to read off."""
    return [axes for axes in figure.axes if axes.axison and axes.get_visible()]


def lightness(colour):
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


def unlabelled(figure):
    """The axes of panels that are said nowhere: by a label of their own, the figure's, or a panel that shares them."""
    found = []
    for axes in panels(figure):
        for which, of_figure in (("x", figure.get_supxlabel()), ("y", figure.get_supylabel())):
            shared = getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes)
            labels = [getattr(one, f"get_{which}label")() for one in shared]
            if which == "y":  # a row of panels says it once, on the left
                bottom = axes.get_position().y0
                labels += [one.get_ylabel() for one in panels(figure) if abs(one.get_position().y0 - bottom) < 0.02]
            axis = getattr(axes, f"{which}axis")
            ticks = [text.get_text() for text in axis.get_ticklabels() if text.get_text()] if axis.get_visible() else []
            words = any(re.search("[A-Za-z]{3}", text) for text in ticks)  # names of series say what they are
            if ticks and not (of_figure or words or any(labels)):
                found.append((axes.get_title(), which))
    return found


def alike(figure):
    """Groups of lines with a label that have the same dashes, marker, fill and width, and no other lightness."""
    found = []
    for axes in panels(figure):
        looks = {}
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            line = handle[0] if isinstance(handle, Container) else handle
            if not hasattr(line, "get_linestyle") or not hasattr(line, "get_marker"):
                continue
            face = "" if line.get_markerfacecolor() in ("none", "white") else "filled"
            dashes = (line.get_linestyle(), getattr(line, "_dash_pattern", None), round(line.get_linewidth()))
            looks.setdefault(str((*dashes, line.get_marker(), face)), []).append((lightness(line.get_color()), label))
        for same in looks.values():
            if any(b[0] - a[0] < _APART for a, b in pairwise(sorted(same))):
                found.append([label for _, label in same])
    return found


def series(axes):
    """The lines and points of a panel, with or without a label: no caps of intervals, no lines across the panel."""
    caps = {cap for box in axes.containers if isinstance(box, ErrorbarContainer) for cap in box.lines[1]}
    drawn = [line for line in axes.get_lines() if line not in caps and line.get_transform() == axes.transData]
    return [line for line in drawn if len(line.get_xdata()) and line.get_visible()]


def same_but_for_colour(figure):
    """Pairs of colours of series in one panel that have the same dashes, marker and fill."""
    found = []
    for axes in panels(figure):
        looks = {}
        for line in series(axes):
            dashes = (line.get_linestyle(), getattr(line, "_dash_pattern", None))
            marker = str(line.get_marker())
            fill = marker not in ("None", "") and to_rgb(line.get_markerfacecolor()) != (1, 1, 1)
            look = str((dashes if line.get_linestyle() != "None" else "", marker, fill))
            looks.setdefault(look, set()).add(to_hex(line.get_color()))
        found += [(axes.get_title(loc="left"), sorted(colours)) for colours in looks.values() if len(colours) > 1]
    return found


def maps_without_a_hatch(figure):
    """The titles of panels with a map that has two sides, dark at both ends, and no hatch on one of these."""
    found = []
    for axes in panels(figure):
        if axes.get_label() == "<colorbar>":
            continue
        for mesh in (art for art in axes.collections if isinstance(art, QuadMesh)):
            ends = [lightness(mesh.cmap(end)[:3]) for end in (0.0, 0.5, 1.0)]
            two_sided = ends[1] - max(ends[0], ends[2]) > 0.2
            one_side = mesh.get_array().min() < -0.01
            hatched = any(getattr(art, "hatches", None) for art in axes.collections)
            found += [axes.get_title(loc="left")] if two_sided and one_side and not hatched else []
    return found


def colliding(figure):
    """Titles that touch each other, or end outside of the figure."""
    boxes = [
        (axes.get_title(loc="left"), axes._left_title.get_window_extent())
        for axes in panels(figure)
        if axes.get_title(loc="left")
    ]
    found = [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    return found + [(a, "figure") for a, box in boxes if box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1]


def empty(figure):
    """The titles of panels in which nothing is seen."""
    found = []
    for axes in panels(figure):
        (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
        seen = [art for art in (*axes.images, *axes.collections, *axes.patches, *axes.texts) if art.get_visible()]
        for line in axes.get_lines():
            if line.get_transform() != axes.transData:  # a line across a panel says nothing of data
                continue
            x, y = (np.asarray(line.get_xdata(orig=False)), np.asarray(line.get_ydata(orig=False)))
            seen += [line] if ((x >= left) & (x <= right) & (y >= low) & (y <= high)).any() else []
        found += [] if seen else [axes.get_title()]
    return found


def test_it_tells_what_was_measured(drawn):
    result, _ = drawn
    module = results.load_figure(result.name)
    assert re.search(r"\d", module.caption(result))
    assert re.search(r"\d", module.headline(result.claims))


def test_axes_say_what_they_show(drawn):
    assert panels(drawn[1])
    assert unlabelled(drawn[1]) == []


def test_lines_are_told_apart_in_grey(drawn):
    assert alike(drawn[1]) == []


def test_titles_do_not_collide(drawn):
    assert colliding(drawn[1]) == []


def test_no_series_differ_by_colour_alone(drawn):
    assert same_but_for_colour(drawn[1]) == []


def test_two_sides_of_a_map_are_told_apart_without_colour(drawn):
    assert maps_without_a_hatch(drawn[1]) == []


def test_panels_have_letters_in_their_order(drawn):
    titles = [axes.get_title(loc="left") for axes in drawn[1].axes if axes.axison and axes.get_label() != "<colorbar>"]
    if len(titles) == 1:
        assert "mathbf" not in titles[0]
        return
    for letter, title in zip(string.ascii_lowercase, titles, strict=False):
        assert title.startswith(rf"$\mathbf{{({letter})}}$"), titles


def test_steps_have_one_notation(drawn):
    """The horizon is t, a step on the way is tau, a meta-step is k, and the largest curvature is L."""
    for axes in drawn[1].axes:
        texts = [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel(), *(x.get_text() for x in axes.texts)]
        texts += [drawn[1].get_supxlabel(), drawn[1].get_supylabel()]
        texts += [label for label in axes.get_legend_handles_labels()[1] if not label.startswith("_")]
        for text in texts:
            assert not re.search(r"\$T\b|_T\b|\bT\b|lambda|unroll|iteration|(?<!meta-)step \$k|[0-9]%", text), text


def test_a_caption_is_short_and_the_details_are_told(drawn):
    result, _ = drawn
    module = results.load_figure(result.name)
    about = results.about(result, module)
    words = [word for word in about["caption"].split() if re.search("[A-Za-z0-9]", word)]
    assert 20 <= len(words) <= 60, about["caption"]
    assert len(about["details"].split()) > 10
    for text in (about["caption"], about["details"]):
        assert text.endswith(".")
        assert not re.search(r"[0-9]%|  ", text), text


def test_it_can_be_drawn_on_the_narrowest_page(drawn):
    result, figure = drawn
    with styled(NARROWEST):
        narrow = results.load_figure(result.name).draw(result)
        narrow.canvas.draw()  # a panel that has no room is a warning, which is an error here
    assert narrow.get_size_inches()[0] == NARROWEST
    assert len(panels(narrow)) == len(panels(figure))
    plt.close(narrow)


def test_something_is_seen_in_every_panel(drawn):
    assert empty(drawn[1]) == []


def test_what_is_wrong_with_a_figure_is_seen():
    figure, axes = plt.subplots(1, 3)
    axes[0].plot([0, 1], [1, 2], "-", color="#d02000", label="one")
    axes[0].plot([0, 1], [2, 2], "-", color="#b04000", label="other")
    axes[0].plot([0, 1], [2, 3], "--", color="#b04000", label="third")
    axes[0].set_title("alike")
    axes[1].plot([5, 6], [7, 8])
    axes[1].set(xlim=(0, 1), ylim=(0, 1), title="nothing", xlabel="x", ylabel="y")
    axes[2].plot([0, 1], [0, np.nan])
    axes[2].set(xlabel="step")
    axes[2].pcolormesh([0, 1], [0, 1], [[-1, 1], [0, 1]], cmap="PuOr_r", vmin=-1, vmax=1)
    axes[2].set_title("map", loc="left")
    figure.canvas.draw()
    assert unlabelled(figure) == [("alike", "x")]
    assert alike(figure) == [["one", "other"]]
    assert same_but_for_colour(figure) == [("", ["#b04000", "#d02000"])]
    assert maps_without_a_hatch(figure) == ["map"]
    assert empty(figure) == ["nothing"]
    assert colliding(figure) == []
    axes[0].set_title("a title that is far too long for a panel", loc="left")
    axes[1].set_title("next", loc="left")
    axes[2].set_title("a title that is far too long for the page", loc="left")
    assert [one for _, one in colliding(figure)] == ["next", "figure"]
    axes[1].set_ylabel("")
    assert unlabelled(figure) == [("alike", "x"), ("alike", "y"), ("nothing", "y"), ("", "y")]
    plt.close(figure)


def test_a_figure_is_a_picture_of_its_result(drawn):
    """With other numbers in the arrays it is another one."""
    result, figure = drawn
    before = np.asarray(figure.canvas.buffer_rgba()).copy()
    name = result.name
    changed = {
        key: x[..., ::-1] * x.dtype.type(0.7) if x.dtype.kind == "f" and x.ndim else x
        for key, x in result.arrays.items()
    }
    with styled():
        other = results.load_figure(name).draw(results.Result(name, changed, result.units, result.sidecar))
        other.canvas.draw()
    after = np.asarray(other.canvas.buffer_rgba()).copy()
    plt.close(other)
    assert before.shape != after.shape or (before != after).mean() > 0.001
