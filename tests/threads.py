"""Runs that several threads ask for at once."""

from threading import Thread


def wrong_in_threads(is_right, each, threads=4):
    """Return the seeds at which a run is not right: every thread takes `each` seeds of its own, at most 20."""
    wrong = []

    def runs(first):
        for seed in range(first, first + each):
            if not is_right(seed):
                wrong.append(seed)

    started = [Thread(target=runs, args=(20 * k,)) for k in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return wrong
