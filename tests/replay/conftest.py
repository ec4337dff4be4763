"""Replay is for those who ask for it: these tests do."""

import pytest

from metagrad.replay import replayed


@pytest.fixture(autouse=True)
def _asked():
    with replayed():
        yield
