"""Small faults put into the code, one at a time: which of them do the tests notice?

    python -m tests.mutants --count 20 --seed 3
    python -m tests.mutants --only metagrad/unroll/digits.py --count 10

Each is drawn anew (`mutations`), made in a copy of the project, and given first to the tests beside the code, then to
all of them (`hunt`). What survives is shown with its line: a test is missing, or the change makes no difference.
"""
