"""What a figure says about itself: title, caption and provenance, beside it and in the file, and nothing of the day."""

import json
import re

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from paper_figs.framework import results, style
from tests.analysis.test_evidence import SAVED

ABOUT = {"title": "A line", "caption": "It rises by η = 1 (2 steps).", "details": "More.", "commit": "abc", "seed": "0"}


def line(width=style.WIDTH):
    with style.styled(width):
        figure, axes = style.new_figure()
        axes.plot([0, 1], [1, 2])
    return figure


def test_a_figure_carries_caption_and_provenance(tmp_path):
    paths = style.save(line(), tmp_path / "a.b", formats=("png", "pdf", "svg", "png"), about=ABOUT)
    assert paths == tuple(tmp_path / f"a.b.{suffix}" for suffix in ("png", "pdf", "svg", "json"))
    png, pdf, svg, beside = paths
    said = {"Title": "A line", "Description": ABOUT["caption"], "Source": "commit: abc; seed: 0"}
    assert Image.open(png).text == said
    found = dict(re.findall(rb"/(Title|Subject|Keywords) [(]((?:[^)\\]|\\.)*)[)]", pdf.read_bytes(), flags=re.DOTALL))
    assert found[b"Title"] == b"A line"
    assert found[b"Keywords"] == b"commit: abc; seed: 0"
    caption = re.sub(rb"\\([()\\])", rb"\1", found[b"Subject"])
    assert caption == b"\xfe\xff" + ABOUT["caption"].encode("utf-16-be")
    assert all(text in svg.read_text(encoding="utf-8") for text in said.values())
    assert json.loads(beside.read_text(encoding="utf-8")) == ABOUT


def test_the_same_figure_gives_the_same_bytes_and_tells_no_time(tmp_path):
    drawn = [style.save(line(), tmp_path / at / "a", formats=style.FORMATS, about=ABOUT) for at in "xy"]
    for one, other in zip(*drawn, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert not re.search(rb"20[2-9]\d-\d\d|D:20[2-9]\d", one.read_bytes())


def test_a_figure_about_nothing_has_no_file_beside_it(tmp_path):
    assert style.save(line(), tmp_path / "a") == (tmp_path / "a.png", tmp_path / "a.pdf")
    assert Image.open(tmp_path / "a.png").text == {}


def test_the_width_is_that_of_the_style():
    figures = [line(), line(5), line(12)]
    assert [figure.get_size_inches()[0] for figure in figures] == [style.WIDTH, 5, 12]
    assert len({figure.get_size_inches()[1] for figure in figures}) == 1
    for figure in figures:
        plt.close(figure)


@pytest.mark.parametrize("width", [4.9, 20.5, float("nan"), "7", None])
def test_a_width_that_no_page_has_is_refused(width):
    with pytest.raises(ValueError, match=r"styled: width is .*inches, from 5 to 20"), style.styled(width):
        pass


@pytest.mark.parametrize(
    ("formats", "said"),
    [(("png", "gif"), "has 'gif'; expected some of png, pdf, svg"), ((), "is empty; expected at least one")],
)
def test_a_format_that_is_not_known_is_refused(tmp_path, formats, said):
    figure = line()
    with pytest.raises(ValueError, match=f"save: formats {said}"):
        style.save(figure, tmp_path / "a", formats=formats)
    assert list(tmp_path.iterdir()) == []
    plt.close(figure)


def test_what_a_figure_is_about_is_that_of_its_result():
    result = results.load_result("horizons", SAVED, "quick", 0)
    module = results.load_figure("horizons")
    about = results.about(result, module, " And more.")
    assert about["caption"] == module.caption(result) + " And more."
    assert about["sha256"] == result.sidecar["sha256"]
    assert about["command"].startswith("python -m analysis run --only horizons --preset quick --seed 0")
    assert (about["title"], about["alt"], about["seed"]) == (module.title, module.alt, "0")
    changed = results.Result("horizons", result.arrays, {}, result.sidecar | {"dirty": True, "commit": ""})
    assert results.about(changed, module)["commit"] == "unknown with changes"
