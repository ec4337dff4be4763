"""The report page, opened in a headless Chromium: no errors, links that resolve, nothing cut off, figures that enlarge.

Skipped where there is no Chromium; what the page says is tested without one.
"""

import csv
import io
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest

from metagrad import tables
from paper_figs.framework import cli, groups, results, tidy
from tests.analysis.test_evidence import SAVED
from tests.paper_figs.browser import PROGRAM, Browser

SHOWN = ("explosion", "learned_eta", "tuners", "short_horizon", "lstm_digits")
SCREENS = [(1280, False), (1280, True), (400, False), (400, True), (320, False)]
WITH_BROWSER = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
CONTRAST = """(() => {
  const light = text => {
    const parts = text.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255);
    const [r, g, b] = parts.map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const found = [...document.querySelectorAll("p, a, td, th, summary, span, h2, button")].map(one => {
    const ink = light(getComputedStyle(one).color);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  });
  return Math.min(...found);
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report in a folder whose name has a space: one result is missing, and the last run of another did not end."""
    out = tmp_path_factory.mktemp("results of a run")
    for name in SHOWN[:-1]:
        shutil.copytree(SAVED / name, out / name)
    (out / "tuners" / "quick-seed0.failed").write_text("ValueError: no <b>luck</b>", encoding="utf-8")
    assert cli.main(["report", "--only", ",".join(SHOWN), "--out", str(out), "--format", "pdf,svg"]) == 2
    return out / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser.started(tmp_path_factory.mktemp("profile")) as started:
        yield started


@WITH_BROWSER
@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_the_page_fits_and_is_read_on_every_screen(page, browser, width, dark):
    browser.open(page, width=width, dark=dark)
    for unfolded in ("false", "true"):
        browser.evaluate(f"document.querySelectorAll('details').forEach(one => one.open = {unfolded})")
        wide, seen = browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen <= width
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'") is not dark
    assert browser.evaluate(CONTRAST) > 4.5, "WCAG 2.1, 1.4.3, for text"
    assert browser.evaluate("[...document.images].every(one => one.complete && (one.naturalWidth > 0 || !one.alt))")
    assert browser.errors == []


@WITH_BROWSER
def test_every_link_leads_somewhere(page, browser):
    browser.open(page)
    inside = "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => one.getAttribute('href').slice(1))"
    targets = browser.evaluate(inside)
    assert set(SHOWN) <= set(targets)
    assert browser.evaluate(f"{json.dumps(targets)}.every(name => document.getElementById(name))")
    others = browser.evaluate("[...document.querySelectorAll('a:not([href^=\"#\"])')].map(one => one.href)")
    paths = [Path(unquote(urlparse(link).path)) for link in others]
    assert all(path.is_file() and path.is_relative_to(page.parent) for path in paths)
    for name in SHOWN[:-1]:
        beside = {path.suffix for path in paths if path.parent.name == name}
        drawn = {path.suffix for path in paths if path.stem == name}
        assert (beside, drawn) == ({".npz", ".csv", ".json"}, {".png", ".pdf", ".svg", ".json"})


@WITH_BROWSER
@pytest.mark.parametrize("width", [1280, 400])
def test_a_figure_is_enlarged_by_mouse_and_by_keys(page, browser, width):
    browser.open(page, width=width)
    opened = "document.getElementById('viewer').open"
    small = browser.evaluate("document.querySelector('#tuners img').getBoundingClientRect().width")
    browser.click("#tuners a.zoom")
    assert browser.evaluate(opened)
    large = "document.querySelector('#viewer img')"
    assert browser.evaluate(f"{large}.getBoundingClientRect().width") > 1.15 * small
    assert browser.evaluate(f"{large}.src === document.querySelector('#tuners img').src")
    browser.press("Escape", "Escape", 27)
    assert not browser.evaluate(opened)
    browser.evaluate("document.querySelector('#explosion a.zoom').focus()")
    browser.press("Enter", "Enter", 13, "\r")
    assert browser.evaluate(opened)
    assert browser.evaluate(f"{large}.alt === document.querySelector('#explosion img').alt")
    browser.click("#close")
    assert not browser.evaluate(opened)
    assert browser.evaluate("document.activeElement === document.querySelector('#explosion a.zoom')")
    assert browser.evaluate("location.pathname.endsWith('report.html')"), "the page was not left"
    assert browser.errors == []


@WITH_BROWSER
def test_tables_of_checks_unfold(page, browser):
    browser.open(page)
    shut = "[...document.querySelectorAll('details.checks')].filter(one => !one.open).length"
    assert browser.evaluate(shut) == len(SHOWN) - 2, "that of the run which did not end is open"
    browser.click("#unfold")
    assert browser.evaluate(shut) == 0


@WITH_BROWSER
def test_the_browser_sees_errors(tmp_path, browser):
    (tmp_path / "bad.html").write_text("<img src='none.png' alt=''><script>console.error('seen'); missing()</script>")
    browser.open(tmp_path / "bad.html")
    assert len(browser.errors) >= 3


def test_the_page_tells_the_story_by_groups(page):
    text = page.read_text(encoding="utf-8")
    listed = [(group.title, names) for group, names in groups.grouped(SHOWN)]
    told = re.findall(r'<h2>(.*?)</h2>|<article id="(.*?)">', text)
    assert told == [one for title, names in listed for one in [(title, ""), *(("", name) for name in names)]]
    assert "3 of 5 claims hold" in text
    assert "ValueError: no &lt;b&gt;luck&lt;/b&gt;" in text
    assert "What follows is of an earlier run" in text
    head = text.partition("<main>")[0]
    sidecars = [json.loads((SAVED / one / "quick-seed0.json").read_text(encoding="utf-8")) for one in SHOWN[:-1]]
    commits = {one["commit"][:12] for one in sidecars}
    assert "Preset quick, seed 0" in head
    assert commits == set(re.findall(r"[0-9a-f]{12}", head)) or f"of {len(commits)} commits" in head
    assert re.search(r"computed \d{4}-\d\d-\d\d \d\d:\d\d UTC", head)


def test_the_short_table_has_a_row_a_figure_and_what_is_reported_is_no_yes(page):
    text = page.read_text(encoding="utf-8")
    short = text.partition('id="claims"')[2].partition("</table>")[0]
    assert re.findall(r'<tr><td><a href="#(\w+)">', short) == groups.ordered(SHOWN)
    assert re.findall(r'data-label="holds">(.*?)</td>', short) == ["yes", "yes", "no", "no result", "yes"]
    checks = [check for name in SHOWN[:-1] for check in results.load_result(name, SAVED, "quick", 0).sidecar["checks"]]
    rest = re.findall(r'data-label="holds">(.*?)</td>', text.partition("</table>")[2])
    assert [one == "reported" for one in rest].count(True) == sum(check["holds"] is None for check in checks) > 5
    assert rest.count("yes") == sum(check["holds"] is True for check in checks)


def test_sizes_are_told_as_people_write_them(page):
    text = page.read_text(encoding="utf-8").partition('<article id="learned_eta">')[2].partition("</article>")[0]
    config = results.load_result("learned_eta", SAVED, "quick", 0).config
    rows = dict(re.findall(r'<tr><td><code>(\w+)</code></td><td class="number">(.*?)</td></tr>', text))
    assert set(config) == set(rows)
    assert rows["tasks"] == str(config["tasks"])
    assert "{&#39;" not in text
    assert "{&#34;" not in text.partition("<pre")[0]


def test_several_seeds_are_linked_and_told(tmp_path, monkeypatch):
    """The other seeds are here the same numbers: what is linked and told is looked at, and not whether they hold."""
    shutil.copytree(SAVED / "explosion", tmp_path / "explosion")
    stem = tmp_path / "explosion" / "quick-seed0"
    found = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    del found["digests"]
    for seed in (1, 2):
        shutil.copy(stem.with_suffix(".npz"), stem.with_name(f"quick-seed{seed}.npz"))
        stem.with_name(f"quick-seed{seed}.json").write_bytes(tables.sealed(found | {"seed": seed}))
    monkeypatch.setattr(cli, "_verified", lambda names, args: {})
    assert cli.main(["report", "--only", "explosion", "--seeds", "0..2", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Preset quick, seeds 0 to 2" in text
    for seed in (1, 2):
        for suffix in ("npz", "json"):
            assert f'href="explosion/quick-seed{seed}.{suffix}"' in text


def test_the_code_is_in_the_page_and_says_where_it_has_changed(page, monkeypatch, tmp_path):
    text = page.read_text(encoding="utf-8")
    for label in ("analysis/explosion.py", "paper_figs/explosion.py", "analysis/_learned_cases.py"):
        said = f"<summary>Code: <code>{label}</code></summary>"
        assert (said in text) is ("_learned" not in label), "the code that a figure shown depends on, and no other"
    assert "def compute(config" in text
    assert "changed since" not in text
    shutil.copytree(page.parent / "explosion", tmp_path / "explosion")
    shutil.copytree(Path(cli.__file__).parent.parent.parent / "analysis", tmp_path / "source" / "analysis")
    with (tmp_path / "source" / "analysis" / "explosion.py").open("a") as file:
        file.write("# another\n")
    monkeypatch.setattr("paper_figs.framework.report._ROOT", tmp_path / "source")
    assert cli.main(["report", "--only", "explosion", "--out", str(tmp_path)]) == 0
    assert "analysis/explosion.py</code>, changed since the result" in (tmp_path / "report.html").read_text("utf-8")


def test_arrays_as_tidy_csv_are_those_of_the_result():
    for name in ("tuners", "method_map", "real_data"):
        result = results.load_result(name, SAVED, "quick", 0)
        rows = list(csv.DictReader(io.StringIO(tidy.of_result(result).decode())))
        assert len(rows) == sum(array.size for array in result.arrays.values())
        for array, found in result.arrays.items():
            values = [row["value"] for row in rows if row["array"] == array]
            if found.dtype.kind == "U":
                assert values == found.ravel().tolist()
            else:
                numbers = np.array([float(x or "nan") for x in values]).reshape(found.shape)
                np.testing.assert_array_equal(numbers.astype(found.dtype), found)
            named = result.sidecar["names"].get(array, [None])
            first = [row["axis0"] for row in rows if row["array"] == array]
            expected = named[0] or [str(k) for k in range(found.shape[0] if found.ndim else 0)]
            assert list(dict.fromkeys(first)) == (list(expected) or [""])


def test_checks_as_tidy_csv(page):
    rows = list(csv.DictReader(io.StringIO(page.with_name("claims.csv").read_text(encoding="utf-8"))))
    assert {row["figure"] for row in rows} == set(SHOWN[:-1])
    small = next(row for row in rows if row["key"] == "small")
    assert (small["holds"], small["low"], small["expected"]) == ("reported", "", "reported")
    assert float(small["measured"]) == results.load_result("explosion", SAVED, "quick", 0).measured("small")
