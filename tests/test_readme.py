"""The README's code runs, and its commands are the ones that are checked."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
MOST_WORDS = 1200


def test_there_are_examples():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("source", BLOCKS, ids=[f"block {i}" for i in range(len(BLOCKS))])
def test_the_examples_run(source, capsys):
    exec(compile(source, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("which", ["main", "test"])
def test_each_command_is_one_line(which):
    found = re.search(rf"<!-- {which} command -->\n```sh\n(.*?)\n```", TEXT, flags=re.DOTALL)
    assert found
    assert found[1].startswith("python3 -m venv .venv && ")
    assert "\n" not in found[1]


def test_every_claim_is_told():
    names = sorted(p.stem for p in (ROOT / "analysis").glob("*.py") if not p.stem.startswith("_"))
    told = re.findall(r"^### (\w+)$", (ROOT / "docs" / "claims.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(told) == names
    assert set(re.findall(r"docs/claims\.md#(\w+)\)", TEXT)) < set(names)


def test_it_is_short():
    assert len(TEXT.split()) <= MOST_WORDS


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT)
    assert len(links) >= 15
    assert [link for link in links if not (ROOT / link).exists()] == []
