"""Runs that were broken off anywhere go on to the same bits, metrics included; what cannot be mended is named."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metagrad.training import read_metrics
from metagrad.training.metrics import Log, go_on
from tests.training.small_run import PHI, StopHereError, same, trainer, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return an unbroken run and the bytes of its metrics."""
    path = tmp_path_factory.mktemp("whole") / "m.jsonl"
    return trainer().run(PHI, metrics=path), path.read_bytes()


@pytest.fixture
def broken(tmp_path):
    """Return the files of a run that was broken off after episode 4, one after its checkpoint."""
    checkpoint, metrics = tmp_path / "a.npz", tmp_path / "m.jsonl"
    with pytest.raises(StopHereError):
        trainer().run(PHI, checkpoint=checkpoint, metrics=metrics, progress=until(4))
    assert read_metrics(metrics)["episode"].tolist() == [0, 1, 2, 3, 4]
    return checkpoint, metrics


def rows(data):
    return data.splitlines(keepends=True)


def resumed(broken):
    return trainer().run(PHI, checkpoint=broken[0], metrics=broken[1])


def goes_on(broken, whole):
    found = resumed(broken)
    assert same(found.phi, whole[0].phi)
    assert same(found.last, whole[0].last)
    assert broken[1].read_bytes() == whole[1]


@pytest.fixture
def log(tmp_path):
    """Return a log of six rows, its bytes, and the marks after each of them."""
    path = tmp_path / "m.jsonl"
    log, marks = Log(path), []
    for episode in range(6):
        marks.append(log.mark())
        row = {"episode": episode, "objective": [0.5 / (1 + episode)], "log2_gradient_norm": [1.0], "clipped": 0}
        log.append(row | {"nonfinite": False, "status": {"OK": 3}})
    return path, path.read_bytes(), [*marks, log.mark()]


def test_a_file_that_ends_at_any_byte_of_its_last_three_rows(log):
    """Whatever the checkpoint counts: the rows it counts come back, or it is said that they are not there."""
    path, data, marks = log
    counted = 0
    for cut in range(len(b"".join(rows(data)[:3])), len(data) + 1):
        for episode in (3, 4, 5, 6):
            path.write_bytes(data[:cut])
            if cut >= marks[episode]["bytes"]:
                go_on(path, "here", episode, marks[episode])
                assert path.read_bytes() == b"".join(rows(data)[:episode])
            else:
                with pytest.raises(ValueError, match=r"here: metrics is .*m\.jsonl, which ends before episode [345]"):
                    go_on(path, "here", episode, marks[episode])
                assert path.read_bytes() == data[:cut]
            counted += 1
    assert counted > 1000


def test_a_file_whose_last_buffers_are_zeros(log):
    """As some file systems leave it after a power cut."""
    path, data, marks = log
    for cut in range(marks[3]["bytes"], len(data), 7):
        damaged = data[:cut] + bytes(len(data) - cut)
        path.write_bytes(damaged)
        go_on(path, "here", 3, marks[3])
        assert path.read_bytes() == b"".join(rows(data)[:3])
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"m\.jsonl, (whose line \d is no row|which ends before episode)"):
            go_on(path, "here", 6, marks[6])


DAMAGES = {
    "a row is lost": (lambda r: [*r[:2], *r[3:]], "whose line 3 is of episode 3, where 2 belongs"),
    "the first row is lost": (lambda r: r[1:], "whose line 1 is of episode 1, where 0 belongs"),
    "a row is there twice": (lambda r: [*r[:2], r[1], *r[2:]], "whose line 3 is of episode 1, where 2 belongs"),
    "rows changed places": (lambda r: [r[1], r[0], *r[2:]], "whose line 1 is of episode 1, where 0 belongs"),
    "two rows in one line": (
        lambda r: [r[0], r[1][:-1] + r[2], *r[3:]],
        r"whose line 2 is no row of metrics \(two rows in one\)",
    ),
    "half a row within": (lambda r: [r[0], r[1][:9] + b"\n", *r[2:]], "whose line 2 is no row of metrics"),
    "a half row glued to the next": (lambda r: [r[0], r[1][:30] + r[2], *r[3:]], "whose line 2 is no row of metrics"),
    "an empty line": (lambda r: [r[0], b"\n", *r[1:]], "whose line 2 is no row of metrics"),
    "no UTF-8": (lambda r: [b"\xff\n", *r[1:]], "whose line 1 is no row of metrics"),
    "an edited number": (
        lambda r: [r[0].replace(b"0.5", b"0.1"), *r[1:]],
        "where a row before episode 5 was edited",
    ),
    "nested without end": (lambda r: [b"[" * 10**5 + b"\n", *r[1:]], "whose line 1 is no row of metrics"),
    "nothing is left": (lambda r: [], "which ends before episode 0; expected the rows of episodes 0 to 4"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_rows_that_the_checkpoint_counts_and_that_are_damaged_are_named(log, name):
    path, data, marks = log
    damage, said = DAMAGES[name]
    damaged = b"".join(damage(rows(data)))
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=said) as caught:
        go_on(path, "here", 5, marks[5])
    assert "Or remove it, or give another one: it will begin with episode 5." in str(caught.value)
    assert path.read_bytes() == damaged
    if name not in ("an edited number", "nothing is left", "the first row is lost"):  # which rows alone do not tell
        with pytest.raises(ValueError, match=r"whose line \d"):
            go_on(path, "here", 5, None)  # a checkpoint of before metrics were counted
        with pytest.raises(ValueError, match=r"whose line \d is no row of metrics|which cannot be read"):
            read_metrics(path)


def test_damage_after_the_checkpoint_is_cut_off(log):
    path, data, marks = log
    for damage, _ in DAMAGES.values():
        path.write_bytes(b"".join([*rows(data)[:2], *damage(rows(data)[2:])]))
        go_on(path, "here", 2, marks[2])
        assert path.read_bytes() == b"".join(rows(data)[:2])


def test_without_a_mark_the_rows_themselves_are_looked_at(log):
    path, data, _ = log
    log = go_on(path, "here", 4, None)
    assert path.read_bytes() == b"".join(rows(data)[:4])
    assert log.mark()["first"] == 0
    path.write_bytes(b"".join(rows(data)[3:]))  # it began with episode 3
    assert go_on(path, "here", 5, None).mark()["first"] == 3
    assert path.read_bytes() == b"".join(rows(data)[3:5])
    with pytest.raises(ValueError, match=r"which ends before episode 5; expected the rows of episodes 3 to 6"):
        go_on(path, "here", 7, None)
    with pytest.raises(ValueError, match=r"which begins with episode 3; expected the rows of episodes 0 to 0"):
        go_on(path, "here", 1, None)


@pytest.mark.parametrize("mark", [3, {}, {"first": 9, "bytes": 0, "sha256": ""}, {"first": "0", "bytes": 1}])
def test_a_mark_that_was_edited_is_none(log, mark):
    path, data, _ = log
    go_on(path, "here", 4, mark)
    assert path.read_bytes() == b"".join(rows(data)[:4])


def test_a_run_goes_on_from_each_byte_that_a_power_cut_may_leave(broken, whole, monkeypatch):
    """Up to the last mark everything is on the disk; of what came after it anything may be."""
    checkpoint, metrics = broken
    saved, data = checkpoint.read_bytes(), metrics.read_bytes()
    certain = len(b"".join(rows(data)[:4]))
    for cut in (certain, certain + 1, (certain + len(data)) // 2, len(data) - 1, len(data)):
        for left in (data[:cut], data[:cut] + bytes(len(data) - cut)):
            checkpoint.write_bytes(saved)
            metrics.write_bytes(left)
            goes_on(broken, whole)


def test_the_rows_are_on_the_disk_before_the_checkpoint_that_counts_them(tmp_path, monkeypatch):
    """Of each file, what a power cut cannot take any more is noted when it is synced."""
    checkpoint, metrics, safe, fsync = tmp_path / "a.npz", tmp_path / "m.jsonl", {}, os.fsync
    counted = []

    def note(handle):
        fsync(handle)
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        safe[name.partition(".")[0]] = os.fstat(handle).st_size
        if name.startswith("a.npz"):
            counted.append((safe.get("m"), metrics.stat().st_size))

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc here")
    monkeypatch.setattr("os.fsync", note)
    trainer().run(PHI, checkpoint=checkpoint, metrics=metrics)
    assert len(counted) == 4  # at the start, and after each evaluation
    assert all(on_disk == written for on_disk, written in counted)
    assert counted[-1][0] == metrics.stat().st_size


def test_a_gap_is_named_and_a_new_file_begins_where_the_run_is(broken, whole, tmp_path):
    checkpoint, metrics = broken
    metrics.write_bytes(b"".join(rows(metrics.read_bytes())[:2]))
    saved = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"metrics is .*m\.jsonl, which ends before episode 2; expected the rows of"):
        resumed(broken)
    assert checkpoint.read_bytes() == saved
    metrics.unlink()
    found = resumed(broken)
    assert same(found.phi, whole[0].phi)
    assert read_metrics(metrics)["episode"].tolist() == [4, 5]
    assert rows(metrics.read_bytes()) == rows(whole[1])[4:]
    assert same(resumed(broken).phi, whole[0].phi)  # its checkpoint knows that it begins there


def test_a_run_that_was_without_metrics_for_a_while_has_a_gap(broken):
    checkpoint, metrics = broken
    trainer().run(PHI, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="which ends before episode 5; expected the rows of episodes 0 to 5"):
        resumed(broken)
    (other := metrics.with_name("other.jsonl")).write_bytes(b"")
    with pytest.raises(ValueError, match="which ends before episode 0"):
        resumed((checkpoint, other))


def test_two_runs_do_not_share_a_file_of_metrics(tmp_path):
    refused = []

    def second(row):
        with pytest.raises(ValueError, match=r"metrics is .*m\.jsonl, which another run is writing"):
            trainer().run(PHI, checkpoint=tmp_path / "b.npz", metrics=tmp_path / "m.jsonl")
        refused.append(row["episode"])

    trainer().run(PHI, checkpoint=tmp_path / "a.npz", metrics=tmp_path / "m.jsonl", progress=second)
    assert refused == list(range(6))


RUN = """
import sys
from pathlib import Path
import metagrad.training.trainer as trainers
from metagrad import ad
from metagrad.training import Recipe
from tests.training.small_run import PHI, SMALL, trainer
trainers.SAVE_SECONDS = 0.02  # between evaluations too
folder, recipe = Path(sys.argv[1]), Recipe(**{**vars(SMALL), "episodes": 60, "evaluate_every": 7})
print("begins", flush=True)
found = trainer(recipe).run(PHI, checkpoint=folder / "a.npz", metrics=folder / "m.jsonl")
print([x.tobytes().hex() for x in ad.leaves((found.phi, found.last))])
"""


def run_to_the_end(folder):
    folder.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", RUN, folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout, (folder / "m.jsonl").read_bytes()


def kill(folder, seconds):
    """Kill a run so many seconds after it began; tell how many rows it left."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", RUN, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "begins\n"
        time.sleep(seconds)
        run.send_signal(signal.SIGKILL)
    left = folder / "m.jsonl"
    return len(rows(left.read_bytes())) if left.exists() else 0


def killed_often(folder, seed, kills, seconds):
    """Kill a run at random moments, and let it come to its end; return how far it was at each kill."""
    draw = random.Random(seed)
    whole = run_to_the_end(folder / "whole")
    left = [kill(folder / "killed", draw.uniform(0, seconds)) for _ in range(kills)]
    assert run_to_the_end(folder / "killed") == whole
    assert not list((folder / "killed").glob("*.part"))
    return left


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_run_that_is_killed_at_random_moments_comes_to_the_same_bits(tmp_path):
    """Set KILLS to kill it more often."""
    left = killed_often(tmp_path, seed=5, kills=int(os.environ.get("KILLS", "3")), seconds=0.3)
    print(f"rows at the kills: {left}")
    assert max(left) > 0
