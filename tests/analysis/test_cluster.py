"""Shards on a Dask cluster of processes: the same bytes, whoever computes them and whoever dies of it.

Scheduler and workers are processes on this machine; a shard and the test wait for each other at named pipes, never for
time to pass.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

import analysis
from analysis.framework import cli, cluster, contract, depends, runner, store, worker
from paper_figs.framework import cli as figures_cli

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="named pipes and signals of POSIX")

SOURCE = Path(__file__).with_name("clustered_experiment.py.txt")
WORKER = "import sys, analysis; analysis.__path__.append(sys.argv.pop(1)); from dask.__main__ import main; main()"
VERSIONS = worker._versions()
QUIET = ("--host", "127.0.0.1", "--no-dashboard")


class Cluster:
    """A scheduler and workers, which find the experiment in `folder`."""

    def __init__(self, folder, stack, allowed_failures=3):
        self.folder, self.stack = folder, stack
        self.environment = os.environ | {
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures),
            "OMP_NUM_THREADS": "1",
        }
        self.scheduler, line = self.start("Scheduler at:", "-m", "dask", "scheduler", *QUIET, "--port", "0")
        self.address = line.split()[-1]

    def start(self, sign, *arguments):
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=store.ROOT, env=self.environment, stderr=subprocess.PIPE, text=True
        )
        self.stack.callback(end, process)
        for line in process.stderr:
            if sign in line:
                return process, line
        raise AssertionError(f"{arguments} ended before it said {sign!r}")

    def add_worker(self, *arguments):
        place = ("--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder / "dask"))
        command = ("-c", WORKER, str(self.folder), "worker", self.address, *QUIET, *place, *arguments)
        return self.start("Registered to:", *command)[0]


def end(process):
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make an experiment `clustered` that this process finds, and two pipes for its shards to wait at."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    shutil.copy(SOURCE, folder / "clustered.py")
    for name in ("gate", "second_gate"):
        os.mkfifo(folder / name)
    monkeypatch.setattr(analysis, "__path__", [*analysis.__path__, str(folder)])
    monkeypatch.setattr(contract, "names", lambda: ["clustered"])
    monkeypatch.setattr(worker, "_first_read", {})
    yield folder
    sys.modules.pop("analysis.clustered", None)


@pytest.fixture
def start(folder):
    with ExitStack() as stack:
        yield lambda **settings: Cluster(folder, stack, **settings)


def order(folder, index, kind):
    (folder / f"order{index}").write_text(f"{kind} {os.getpid()}")


def began(folder):
    return sorted((folder / "began").read_text().split())


def let_cancellations_arrive(address):
    """Return once the worker has nothing left but the shard that it is at: until then it may begin another."""
    with distributed.Client(address) as client:
        for _ in range(2000):
            if all(count <= 1 for count in client.run(lambda dask_worker: len(dask_worker.state.tasks)).values()):
                return
    raise AssertionError("the worker still has shards that were cancelled")


def run(out, *extra):
    return cli.main(["run", "--only", "clustered", "--device", "cpu", "--out", str(out), *extra])


def result(out):
    return (out / "clustered" / "quick-seed0.npz").read_bytes()


def saved(out):
    return sorted(path.stem for path in out.rglob("0*.npz"))


@pytest.fixture
def when_saved(monkeypatch):
    """Return a function that has something done once `count` shards are saved."""

    def arrange(count, act):
        save = store.save_shard

        def save_and_act(path, data):
            nonlocal count
            save(path, data)
            count -= 1
            if count == 0:
                act()

        monkeypatch.setattr(store, "save_shard", save_and_act)

    return arrange


def opening(pipe):
    return lambda: pipe.write_bytes(b"")


@pytest.mark.parametrize("allowed_failures", [0, 3])
def test_a_worker_that_dies_changes_no_byte(folder, start, tmp_path, when_saved, allowed_failures, capsys):
    dask = start(allowed_failures=allowed_failures)
    workers = [dask.add_worker(), dask.add_worker()]
    order(folder, 1, "die")
    when_saved(2, opening(folder / "gate"))
    assert run(tmp_path / "cluster", "--scheduler", dask.address) == 0
    assert sum(process.poll() == -signal.SIGKILL for process in workers) == 1
    assert began(folder).count("1") == 2
    assert capsys.readouterr().err == ""
    assert run(tmp_path / "here", "--jobs", "1") == 0
    assert result(tmp_path / "cluster") == result(tmp_path / "here")


def test_without_workers_a_run_ends_and_keeps_what_was_finished(
    folder, start, tmp_path, when_saved, monkeypatch, capsys
):
    monkeypatch.setattr(cluster, "ALONE_SECONDS", 0.0)
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.05)
    dask = start()
    dask.add_worker()
    order(folder, 2, "die")
    when_saved(2, opening(folder / "gate"))
    assert run(tmp_path, "--scheduler", dask.address) == 1
    shown = capsys.readouterr()
    assert f"No workers at {dask.address}" in shown.out
    assert "there are no workers" in shown.err
    assert "finished shards are saved" in shown.err
    assert saved(tmp_path) == ["00000", "00001"]
    assert run(tmp_path, "--jobs", "1") == 0
    assert began(folder) == ["0", "1", "2", "2", "3", "4", "5"]


def test_one_worker_through_a_refusal_an_interrupt_a_failure_and_a_lost_scheduler(
    folder, start, tmp_path, when_saved, monkeypatch, capsys
):
    dask = start()
    dask.add_worker()
    on_the_cluster = ("--scheduler", dask.address)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_versions", lambda: {**VERSIONS, "numpy": "0.9"})
        assert run(tmp_path, *on_the_cluster) == 1
    assert f"would compute something else (numpy {VERSIONS['numpy']} there, 0.9 here)" in capsys.readouterr().err
    assert not (folder / "began").exists()

    interrupted, lost = tmp_path / "interrupted", tmp_path / "lost"
    order(folder, 1, "interrupt")
    when_saved(1, opening(folder / "gate"))
    assert run(interrupted, *on_the_cluster) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    let_cancellations_arrive(dask.address)
    (folder / "second_gate").write_bytes(b"")
    assert run(interrupted, *on_the_cluster) == 0
    assert began(folder) == ["0", "1", "1", "2", "3", "4", "5"], "what had not begun was cancelled"

    order(folder, 0, "fail")
    assert run(tmp_path, *on_the_cluster) == 1
    assert (
        "error: clustered: RuntimeError: as ordered (in shard {'index': 0}, on worker tcp:" in capsys.readouterr().err
    )
    assert "in obey" in (tmp_path / "clustered" / "quick-seed0.failed").read_text(encoding="utf-8")
    (folder / "order0").unlink()

    order(folder, 1, "die")
    when_saved(1, dask.scheduler.kill)
    assert run(lost, *on_the_cluster) == 1
    assert f"the scheduler at {dask.address} was lost" in capsys.readouterr().err
    assert saved(lost) == ["00000"]


def test_a_worker_of_an_older_source_is_refused(folder, start, tmp_path, monkeypatch, capsys):
    dask = start()
    dask.add_worker()
    assert run(tmp_path, "--scheduler", dask.address) == 0
    source = folder / "clustered.py"
    source.write_text(source.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    monkeypatch.setattr(worker, "_first_read", {})  # this process begins anew, the worker does not
    assert run(tmp_path, "--scheduler", dask.address) == 1
    assert "would compute something else (clustered.py was changed after process" in capsys.readouterr().err
    assert len(began(folder)) == 6


class FakeRemote:
    def __init__(self, error):
        self.error = error

    def add_done_callback(self, act):
        act(self)

    def cancelled(self):
        return False

    def release(self):
        pass


class FakeClient:
    """A client whose every shard has a result: an error, or none ever where that is None; `gathering` when asked."""

    def __init__(self, error, loop):
        self.error, self.sent, self.gathering = error, 0, threading.Event()
        self.loop = SimpleNamespace(asyncio_loop=loop)

    async def gather(self, remote, asynchronous):
        self.gathering.set()
        if self.error is None:
            await asyncio.Event().wait()
        raise self.error

    def nthreads(self):
        return {"tcp://127.0.0.1:1": 4}

    def submit(self, *arguments, pure):
        assert not pure, "the result of an equal call of an older source must not be taken"
        self.sent += 1
        return FakeRemote(self.error)

    def close(self, timeout):
        pass


@pytest.fixture
def loop():
    """Run an event loop in a thread, as a client does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    for task in asyncio.all_tasks(loop):
        loop.call_soon_threadsafe(task.cancel)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize(
    ("error", "kind", "message", "sent"),
    [
        (
            type("KilledWorker", (Exception,), {})(),
            runner.ShardError,
            r"out of memory\? \(in shard {'index': 7}\)",
            cluster.ATTEMPTS,
        ),
        (ModuleNotFoundError("No module named 'analysis'"), runner.RunError, "at the root of this checkout", 1),
    ],
)
def test_what_dask_says_is_said_in_our_words(folder, loop, error, kind, message, sent):
    client = FakeClient(error, loop)
    said = []
    crew = cluster.Cluster(client, "tcp://127.0.0.1:2", said.append)
    assert "one shard at a time" in said[0]
    context = contract.Context(0, "cpu")
    future = crew.submit(runner.compute_shard, "clustered", "quick", {"index": 7}, context)
    with pytest.raises(kind, match=message):
        future.result()
    assert client.sent == sent
    crew.shutdown()


def test_a_callback_does_not_outlive_its_client(folder, loop, monkeypatch):
    """What Dask calls back in is one thread of the process: waiting there for a closed client would stop the next."""
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.01)
    client = FakeClient(None, loop)
    crew = cluster.Cluster(client, "tcp://127.0.0.1:2", lambda said: None)
    context = contract.Context(0, "cpu")
    shard = (runner.compute_shard, "clustered", "quick", {"index": 7}, context)
    calling = threading.Thread(target=lambda: crew.submit(*shard))  # the fake calls back at once
    calling.start()
    client.gathering.wait()
    crew.shutdown()
    calling.join()


def test_a_worker_does_one_shard_at_a_time(folder, monkeypatch):
    monkeypatch.setattr("distributed.get_worker", lambda: FakeRemote(None))
    monkeypatch.setattr(FakeRemote, "address", "tcp://127.0.0.1:1", raising=False)
    wanted = worker.digest(worker.fingerprint("clustered"))
    kind, address, data = worker.compute(wanted, lambda name: bytes([worker._one_at_a_time.locked()]), "clustered")
    assert (kind, address, data) == ("data", "tcp://127.0.0.1:1", b"\x01")


def test_an_experiment_that_cannot_be_loaded_is_a_difference(folder):
    here = worker.fingerprint("clustered")
    there = worker.fingerprint("no_such_experiment")
    assert "cannot be loaded (ModuleNotFoundError" in depends.differences(here, there)
    assert depends.differences(here, {**here, "metagrad/xp.py": "0"}) == "metagrad/xp.py is another file"
    assert depends.differences(here, {}).endswith(f" and {len(here) - 3} more")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1", "expected an address like tcp://"),
        ("", "expected an address like tcp://"),
        ("foo://127.0.0.1:1", "no Dask scheduler answers there"),
    ],
)
def test_what_is_no_address(folder, tmp_path, capsys, address, message):
    assert run(tmp_path, "--scheduler", address) == 2
    assert message in capsys.readouterr().err


def test_where_nothing_or_something_else_listens(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert run(tmp_path, "--scheduler", f"tcp://127.0.0.1:{port}") == 2
    assert run(tmp_path, "--scheduler", f"tcp://127.0.0.1:{port}") == 2
    assert capsys.readouterr().err.count("no Dask scheduler answers there, and nothing was computed") == 2
    assert not (folder / "began").exists()


def test_the_address_of_a_worker_is_told_from_a_schedulers(folder, tmp_path, monkeypatch, capsys):
    async def worker_answers(address):
        return "Worker"

    monkeypatch.setattr(cluster, "_kind", worker_answers)
    assert run(tmp_path, "--scheduler", "tcp://127.0.0.1:1") == 2
    assert "this is a worker; give the address of its scheduler" in capsys.readouterr().err


def test_without_the_package_the_extra_is_named(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(tmp_path, "--scheduler", "tcp://127.0.0.1:1") == 2
    assert "pip install -e '.[dask]'" in capsys.readouterr().err


def test_processes_and_a_cluster_exclude_each_other(folder, tmp_path, capfd):
    both = ("--jobs", "2", "--scheduler", "tcp://127.0.0.1:1")
    assert run(tmp_path, *both) == 2
    assert figures_cli.main(["all", "--only", "horizons", "--out", str(tmp_path), *both]) == 2
    message = "--jobs is 2 and --scheduler tcp://127.0.0.1:1; expected one of them"
    assert capfd.readouterr().err.count(message) == 2
