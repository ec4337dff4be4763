"""What the concept pages say that their code prints is what it prints."""

import math
import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "concepts").glob("*.md"))
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<said>.*?)^```$)?", flags=re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w*.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
CLOSE = 1e-6  # what another processor rounds otherwise is below it


def alike(said, printed):
    """Whether two texts are the same words, in any lines, and nearly the same numbers."""
    said, printed = (" ".join(text.split()) for text in (said, printed))
    if NUMBER.sub("#", said) != NUMBER.sub("#", printed):
        return False
    pairs = zip(NUMBER.findall(said), NUMBER.findall(printed), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=CLOSE) for a, b in pairs)


@pytest.mark.parametrize("page", [page for page in PAGES if "```text" in page.read_text()], ids=lambda page: page.stem)
def test_a_page_tells_what_its_code_prints(page, capsys):
    names = {"__name__": page.stem}  # as a module has it: what is defined here is a user's
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        exec(compile(block["code"], page.stem, "exec"), names)  # no path of this machine in a message
        printed = capsys.readouterr().out
        assert block["said"] is None or alike(block["said"], printed), printed


def test_every_text_stands_below_a_block():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("```text") == sum(block["said"] is not None for block in BLOCK.finditer(text))


def test_pages_are_short():
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert len(prose.split()) <= 900, page.name


def test_another_word_or_number_is_seen():
    assert alike("step 8:\n  0.1, -4.0", "step 8: 0.10000000001, -3.9999999999")
    assert not alike("step 8: 0.1", "step 9: 0.1")
    assert not alike("0.1 by train", "0.1 by validation")
    assert not alike("Scaled(1.5e-58)", "Scaled(1.5e-57)")
