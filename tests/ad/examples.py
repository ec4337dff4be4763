"""One test a function of the tape, for all examples of its domain: a test an example is mostly pytest's own time."""

import inspect
from functools import wraps

import pytest

from metagrad.ad import table
from metagrad.ad.domains import DOMAINS

table.load_late()  # the families that import SciPy


def every_case(test):
    """Make of a test of (function, index) one of a function, which runs all examples and names all that fail."""

    @wraps(test)
    def of_all(function, **others):
        failures, skipped = [], []
        for index in range(len(DOMAINS[function])):
            try:
                test(function=function, index=index, **others)
            except pytest.skip.Exception as skip:
                skipped.append(str(skip))
            except (Exception, pytest.fail.Exception) as error:  # not every outcome of pytest's is an Exception
                error.add_note(f"{function.__name__}-{index}")
                failures.append(error)
        if failures:
            raise BaseExceptionGroup(f"{function.__name__}: of {len(DOMAINS[function])} examples", failures)
        if len(skipped) == len(DOMAINS[function]):
            pytest.skip(skipped[0])

    signature = inspect.signature(test)
    asked = [parameter for name, parameter in signature.parameters.items() if name != "index"]
    of_all.__signature__ = signature.replace(parameters=asked)
    return pytest.mark.parametrize("function", DOMAINS, ids=lambda f: f.__name__)(of_all)
