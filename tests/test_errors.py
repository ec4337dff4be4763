"""Every status says what happened and what to do."""

import pytest

from metagrad import Status
from metagrad.errors import nearest


@pytest.mark.parametrize("status", list(Status))
def test_codes_go_both_ways(status):
    assert Status.from_code(status.code) is status
    assert (status.code == 0) == (status is Status.OK)
    assert len(status.message) > 20


def test_messages_are_distinct():
    assert len({s.message for s in Status}) == len(Status)


def test_nearest_lists_all_when_nothing_is_near():
    assert nearest("revers", ["reverse", "forward"]).startswith("Did you mean 'reverse'?")
    assert nearest("zzz", ["reverse", "forward"]) == "Known: 'reverse', 'forward'."
