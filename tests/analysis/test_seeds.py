"""Several seeds: how they are named, the verdict over all of them, and the ranges of numbers in table and caption."""

import argparse

import pytest

from analysis.framework import cli, seeds


@pytest.mark.parametrize(
    ("text", "expected"), [("3", (3,)), ("0..4", (0, 1, 2, 3, 4)), ("5,0..1", (5, 0, 1)), (" 2 , 7", (2, 7))]
)
def test_seeds_are_a_list_or_a_range(text, expected):
    assert seeds.parse(text) == expected


@pytest.mark.parametrize("text", ["", "a", "-1", "1.5", "4..0", "0..", "0...3", "1,,2", "1,1", "0..5,3", "0..1000000"])
def test_what_is_no_seed_is_named(text):
    with pytest.raises(ValueError, match=r"--seeds is '.*?', (of which|which has a seed twice)"):
        seeds.parse(text)


def test_one_seed_or_several_not_both(capsys):
    parser = argparse.ArgumentParser()
    seeds.add_to(parser)
    assert seeds.chosen(parser.parse_args([])) == (0,)
    assert seeds.chosen(parser.parse_args(["--seed", "7"])) == (7,)
    assert seeds.chosen(parser.parse_args(["--seeds", "1..2"])) == (1, 2)
    with pytest.raises(ValueError, match="--seed is '0,1'; expected one integer"):
        seeds.chosen(parser.parse_args(["--seed", "0,1"]))
    with pytest.raises(SystemExit):
        parser.parse_args(["--seed", "0", "--seeds", "1"])


@pytest.fixture
def out(tiny, tmp_path):
    """The folder of the results of an experiment `tiny`."""
    return tmp_path / "out"


def call(command, out, *extra):
    return cli.main([command, "--only", "tiny", "--out", str(out), "--device", "cpu", *extra])


def test_a_claim_holds_where_it_holds_at_every_seed(out, capsys, monkeypatch):
    assert call("run", out, "--seeds", "0..2", "--jobs", "1") == 0
    shown = capsys.readouterr().out
    assert "1 experiments at 3 seeds, 0 from the cache" in shown
    assert "holds at 3 seeds  tiny" in shown
    assert sorted(path.stem for path in (out / "tiny").glob("*.npz")) == [f"quick-seed{k}" for k in range(3)]
    monkeypatch.setenv("TINY_BOUND", "16.5")
    assert call("run", out, "--seeds", "0..2", "--force", "--jobs", "1") == 1
    shown = capsys.readouterr().out
    assert "FAILS at seeds 1, 2  tiny" in shown
    assert "NO at seeds 1, 2" in " ".join(shown.split())
    assert call("verify", out, "--seeds", "0..2") == 1
    assert call("verify", out, "--seeds", "0") == 0
    capsys.readouterr()
    assert call("verify", out, "--seeds", "0..2", "--long") == 1
    assert "16 to 18" in capsys.readouterr().out


def test_seeds_that_were_run_come_from_the_cache(out, tmp_path):
    assert call("run", out, "--seeds", "0,1", "--jobs", "1") == 0
    assert call("run", out, "--seeds", "0..2", "--jobs", "1") == 0
    assert (tmp_path / "log").read_text().split() == [str(k) for k in range(5)] * 3


def test_a_seed_that_was_not_run_is_named(out, capsys):
    assert call("run", out, "--jobs", "1") == 0
    assert call("verify", out, "--seeds", "0,3") == 2
    assert "python -m analysis run --only tiny --preset quick --seed 3" in capsys.readouterr().err
