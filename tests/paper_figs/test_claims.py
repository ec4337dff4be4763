"""The README's table of claims is made from measured values, and these are of the experiments that are there."""

import re

import numpy as np
import pytest

from analysis.framework import contract, depends, sidecar, sources, store
from paper_figs.framework import groups, headlines, results, table
from paper_figs.framework.claims import Claims

KEPT = table.load()


def claims(values, holds=None):
    checks = {
        seed: [{"key": "gain", "what": "a gain", "measured": x, "expected": "> 0", "holds": x > 0, "interval": None}]
        for seed, x in enumerate(values)
    }
    return Claims("invented", "quick", {}, "a claim", checks)


def test_numbers_are_told_with_their_range_over_seeds():
    assert claims([0.314]).told("gain", ".2f") == "0.31"
    assert claims([0.314, 0.17, 0.4]).told("gain", ".2f") == "0.31 (0.17 to 0.40)"
    assert claims([0.314, 0.3141]).told("gain", ".2f") == "0.31"
    assert claims([2.0, 3.0]).told("gain", ".0e", lambda x: 10**x) == "1e+02 (1e+02 to 1e+03)"
    assert claims([0.1, np.nan]).told("gain", ".1f") == "0.1 (not a number at 1 of 2 seeds)"
    with pytest.raises(KeyError, match=r"there is no check 'gian'\. Known, nearest first: gain"):
        claims([1.0]).told("gian")


def test_a_claim_fails_with_the_seeds_at_which_it_does():
    found = claims([1.0, -1.0, np.nan])
    assert not found.holds
    assert found.failing == {"gain": [1, 2]}
    assert found.rows[0]["failing"] == [1, 2]
    assert [found.rows[0]["verdict"], claims([-1.0]).rows[0]["verdict"]] == ["no, at seeds 1, 2", "no"]
    assert claims([1.0, 2.0]).holds
    assert claims([1.0, 2.0]).rows[0]["verdict"] == "yes"
    assert claims([1.0]).interval("gain") is None
    with pytest.raises(KeyError, match="there is no check 'other'"):
        claims([1.0]).interval("other")


@pytest.mark.parametrize("name", contract.names())
def test_a_headline_asks_for_checks_that_its_experiment_has(name):
    experiment = contract.load(name)
    for preset, config in experiment.presets.items():
        checks = [
            {"key": key, "what": key, "measured": 0.5, "expected": "", "holds": True, "interval": None}
            for key in experiment.keys(config)
        ]
        told = Claims(name, preset, sidecar.plain_config(config), experiment.claim, {0: checks})
        assert results.load_figure(name).headline(told)


@pytest.mark.parametrize("name", contract.names())
def test_what_is_claimed_was_measured_with_the_experiment_that_is_there(name):
    """Run it at the seeds that claims.json has, then `python -m paper_figs claims`, where this fails."""
    experiment = contract.load(name)
    found = {
        depends.label(path): sources.digest(path)
        for path in (experiment.source, *depends.private_modules(experiment.source))
    }
    assert {"quick", "default"} <= set(KEPT[name])
    for preset, kept in KEPT[name].items():
        config = experiment.presets[preset]
        assert kept["source"] == found
        assert kept["claim"] == experiment.claim
        assert kept["config"] == sidecar.plain_config(config)
        assert tuple(check["key"] for check in kept["checks"]) == tuple(experiment.keys(config))
        assert table.claims_of(name, preset, kept).holds
        assert len(kept["seeds"]) >= (10 if preset == "quick" else 2 if preset == "default" else 1)


@pytest.mark.parametrize("name", contract.names())
def test_a_claim_has_a_short_line_of_checks_that_its_experiment_has(name):
    for preset in contract.load(name).presets:
        kept = KEPT[name].get(preset)
        if kept is None:  # the paper preset of most
            continue
        at_all = table.claims_of(name, preset, kept)
        at_one = Claims(name, preset, at_all.config, at_all.claim, {0: at_all.checks[at_all.seeds[0]]})
        assert re.search(r"\d", headlines.measured(at_all))
        assert len(headlines.measured(at_one)) < 50, "it stands on one line of 80 columns, after name and verdict"
    assert 20 < len(headlines.says(name, "")) < 140


def test_a_figure_without_a_short_line_is_told_by_its_title():
    assert headlines.says("invented", "An invented figure") == "An invented figure"
    assert headlines.measured(claims([1.0, -1.0])) == "0 of 1 checks hold"


def test_the_readme_tells_eight_claims():
    assert len(set(headlines.HEADLINES)) == 8
    assert set(headlines.HEADLINES) <= set(contract.names())


def test_each_figure_is_in_one_group():
    listed = [name for group in groups.GROUPS for name in group.figures]
    assert sorted(listed) == sorted(results.names())
    keys, titles = ({getattr(group, what) for group in groups.GROUPS} for what in ("key", "title"))
    assert len(keys) == len(titles) == len(groups.GROUPS)


def test_the_link_to_a_claim_is_the_name_of_its_figure():
    """A heading's link is its text in small letters, with hyphens: none is there twice, nor that of a group."""
    headings = re.findall(r"^#+ (.*)$", table.page(KEPT), flags=re.MULTILINE)
    links = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(set(links)) == len(links)
    assert set(results.names()) <= set(links)
    assert set(re.findall(r"\(#([^)]*)\)", table.page(KEPT))) == set(results.names())


def test_what_is_reported_is_not_said_to_hold():
    rows = table.page(KEPT).splitlines()
    reported = sum(
        check["holds"][0] is None for kept in KEPT.values() for one in kept.values() for check in one["checks"]
    )
    assert sum(row.endswith("|  | reported |") for row in rows) == reported > 100


def test_the_readme_has_the_table_that_these_values_make():
    text = table.README.read_text(encoding="utf-8")
    found = re.search(f"{re.escape(table.BEGIN)}(.*?){re.escape(table.END)}", text, flags=re.DOTALL)
    assert found
    assert found[1] == table.table(KEPT)
    assert (store.ROOT / "README.md") == table.README
    assert table.PAGE.read_text(encoding="utf-8") == table.page(KEPT)


def test_a_preset_of_another_version_says_so():
    def lacking(preset):
        kept = table.load()["explosion"]["quick"]
        checks = [one for one in kept["checks"] if one["key"] != kept["checks"][0]["key"]]
        return table.claims_of("explosion", preset, kept | {"checks": checks})

    class Figure:
        @staticmethod
        def headline(claims):
            return claims.told(table.load()["explosion"]["quick"]["checks"][0]["key"])

    said = table._headline(Figure, lacking("default"))
    assert said == (
        "of another version of the experiment; run `python -m paper_figs claims --only explosion --preset default`"
    )
    with pytest.raises(results.ResultError, match=r"another version of explosion, without .*; run `python -m "):
        table._headline(Figure, lacking("quick"))
