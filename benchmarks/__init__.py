"""Speed, memory and correctness against peers: ratios measured in one run, never part of the tests."""
