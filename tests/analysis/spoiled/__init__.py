"""For each experiment, a spoiled table a check: what `tests/analysis/test_evidence.py` sees failing.

A module `<experiment>.py` has
    corruptions(config, arrays) -> dict     for each check that decides, by its key: the arrays that take the place of
                                            those of the saved table, wrong in what this check is about, without a NaN
    NAN_IS_DATA: dict[str, str]             where there are some: the arrays in which NaN is a measurement, each with
                                            what it says (a run that ended); they are left out of the tests with NaN
`arrays` are copies, which may be changed.
"""
