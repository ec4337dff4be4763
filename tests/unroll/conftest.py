"""What tests of quiet runs share."""

import pytest

from metagrad.unroll import backward, quiet


@pytest.fixture
def counted(monkeypatch):
    """Count the runs that were answered at once, and those that the sweep found."""
    found, quietly = {"quiet": 0, "sweep": 0}, quiet.quiet

    def counting(*args):
        got = quietly(*args)
        found["sweep" if got is None else "quiet"] += 1
        return got

    monkeypatch.setattr(backward, "quiet", counting)
    return found
