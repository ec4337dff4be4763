"""Shards on a Dask cluster: an executor over `distributed.Client`.

A shard goes to a worker as its name and plain numbers and comes back as the bytes of an npz file. What a worker that
dies had to compute is computed again elsewhere. A worker of another source, or of other libraries, is refused: its
numbers would pass for those of this source.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from analysis.framework import depends, runner, worker

CONNECT_SECONDS = 5.0
LOOK_SECONDS = 1.0
ALONE_SECONDS = 600.0  # how long a run waits where there is no worker
ATTEMPTS = 3  # to have a shard computed; the scheduler lets each take `allowed-failures` (3) workers along


class ClusterError(Exception):
    """A cluster that cannot be used; the message says why, and what to do."""


@contextmanager
def workers(address: str, say: Callable[[str], None]) -> Iterator[Cluster]:
    """Yield an executor of the workers at a scheduler; `say` is for telling the user that there are none.

    ClusterError where no scheduler answers within seconds, or Dask is missing. At the end and at an interrupt what has
    not begun is cancelled; what has begun ends on its worker, and is forgotten.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what Dask logs about lost connections is said here, once
    try:
        cluster = Cluster(_connect(address), address, say)
        try:
            yield cluster
        finally:
            cluster.shutdown()
    finally:
        logging.disable(before)


def _connect(address: str) -> Any:
    if not re.fullmatch(r"[a-z]+://\S+:\d+", address):
        raise ClusterError(f"--scheduler is {address!r}; expected an address like tcp://192.168.0.1:8786.")
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            "--scheduler needs the package distributed; install the extra: pip install -e '.[dask]'."
        ) from error
    try:  # a Client waits for ever where something else listens
        kind = asyncio.run(asyncio.wait_for(_kind(address), CONNECT_SECONDS))
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"--scheduler {address}: no Dask scheduler answers there, and nothing was computed. Start one with "
            "`python -m dask scheduler`, and give the address that it prints."
        ) from error
    if kind != "Scheduler":
        raise ClusterError(f"--scheduler {address}: this is a {kind.lower()}; give the address of its scheduler.")
    return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)


async def _kind(address: str) -> str:
    """Return what answers at an address: "Scheduler", "Worker" or "Nanny"."""
    from distributed import Security, rpc

    peer = rpc(address, connection_args=Security().get_connection_args("client"))
    try:
        return str((await peer.identity())["type"])
    finally:
        await peer.close_rpc()


@dataclass
class _Shard:
    """A shard on its way: what is asked for, of which source, and how often it may still be sent."""

    future: Future[bytes]
    task: tuple[Any, ...]
    fingerprint: dict[str, str]
    attempts: int = ATTEMPTS

    def __str__(self) -> str:
        """Return the shard as messages name it."""
        return str(self.task[-2])


class Cluster(Executor):
    """The workers at a scheduler, as an executor of `runner.compute_shard`."""

    def __init__(self, client: Any, address: str, say: Callable[[str], None]) -> None:
        """Begin to look after the workers."""
        self._client, self._address, self._say = client, address, say
        self._pending: set[Future[bytes]] = set()
        self._ended = threading.Event()
        self._alone_since: float | None = None
        self._look()
        if max(client.nthreads().values(), default=1) > 1:
            say("Workers of several threads compute one shard at a time; --nworkers -1 --nthreads 1 uses every core.")
        threading.Thread(target=self._look_after, daemon=True).start()

    def count(self) -> int:
        """Return how many workers there are now."""
        return len(self._client.nthreads())

    def submit(self, fn: Callable[..., bytes], /, *args: Any, **kwargs: Any) -> Future[bytes]:
        """Have a worker call `fn` on the arguments of `runner.compute_shard`."""
        fingerprint = worker.fingerprint(args[0])
        shard = _Shard(Future(), (worker.digest(fingerprint), fn, *args), fingerprint)
        self._pending.add(shard.future)
        shard.future.add_done_callback(self._pending.discard)
        self._send(shard)
        return shard.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave: the scheduler forgets what only this client wanted."""
        self._ended.set()
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=CONNECT_SECONDS)

    def _send(self, shard: _Shard) -> None:
        # not pure: the result of an equal call might be there, from before an edit
        remote = self._client.submit(worker.compute, *shard.task, pure=False)

        def cancel(future: Future[bytes]) -> None:
            if future.cancelled() and not self._ended.is_set():
                with suppress(OSError, TimeoutError):
                    remote.cancel()

        shard.future.add_done_callback(cancel)
        remote.add_done_callback(lambda remote: self._arrived(shard, remote))

    def _arrived(self, shard: _Shard, remote: Any) -> None:
        """Hand on what came of a shard; called in a thread of the client."""
        if shard.future.done() or self._ended.is_set():
            return
        try:
            outcome = self._opened(shard, *self._result(remote))
        except Exception as error:
            shard.attempts -= 1
            if type(error).__name__ == "KilledWorker" and shard.attempts:
                self._send(shard)
                return
            outcome = self._explained(shard, remote, error)
        remote.release()  # a worker keeps what someone may ask for
        with suppress(InvalidStateError):  # cancelled or given up in the meantime
            if isinstance(outcome, bytes):
                shard.future.set_result(outcome)
            else:
                shard.future.set_exception(outcome)

    def _result(self, remote: Any) -> Any:
        """Return the result of a remote future; CancelledError where this client leaves before it is here.

        Its own `result` would wait for ever for the loop of a client that was closed in the meantime, in the one thread
        that all clients of a process have for callbacks, and for which the interpreter waits at its end.
        """
        gathered = self._client.gather(remote, asynchronous=True)
        waiting = asyncio.run_coroutine_threadsafe(gathered, self._client.loop.asyncio_loop)
        while not wait([waiting], LOOK_SECONDS).done:
            if self._ended.is_set():
                raise CancelledError
        return waiting.result()

    def _opened(self, shard: _Shard, kind: str, sender: str, what: Any) -> bytes | Exception:
        if kind == "data":
            return bytes(what)
        if kind == "error":
            error = runner.ShardError(f"{what[0]} (in shard {shard}, on worker {sender})")
            error.__cause__ = Exception(f"on worker {sender}:\n{what[1]}")
            return error
        return runner.RunError(
            f"worker {sender} would compute something else ({depends.differences(shard.fingerprint, what)}); finished "
            "shards are saved. Give it this checkout and these packages, start it again, and run this again."
        )

    def _explained(self, shard: _Shard, remote: Any, error: Exception) -> Exception:
        if type(error).__name__ == "KilledWorker":
            return runner.ShardError(
                f"every worker that took it was ended from outside, out of memory? (in shard {shard})"
            )
        if remote.cancelled():
            return runner.RunError(
                f"the scheduler at {self._address} was lost; finished shards are saved. Start it again, and its "
                "workers: the same command goes on from there."
            )
        reason = error.__cause__ or error
        return runner.RunError(
            f"the cluster cannot take shards ({type(reason).__name__}: {reason}); finished shards are saved. Start the "
            "scheduler and the workers at the root of this checkout, with the same packages, and run this again."
        )

    def _look_after(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with suppress(OSError, TimeoutError):  # a lost scheduler shows in what was sent there
                self._look()

    def _look(self) -> None:
        """Say when the last worker left and when one came, and end the run where there was none for long."""
        now = time.monotonic()
        if self.count():
            if self._alone_since is not None:
                self._say(f"There are workers at {self._address} now.")
            self._alone_since = None
            return
        if self._alone_since is None:
            self._alone_since = now
            self._say(
                f"No workers at {self._address}: waiting for one, {ALONE_SECONDS / 60:.0f} minutes at most. Start it "
                f"at the root of this checkout: python -m dask worker {self._address} --nworkers -1 --nthreads 1"
            )
        if now - self._alone_since >= ALONE_SECONDS:
            self._give_up()

    def _give_up(self) -> None:
        for future in list(self._pending):
            with suppress(InvalidStateError):
                future.set_exception(
                    runner.RunError(
                        f"there are no workers at {self._address}; finished shards are saved. Start some: the same "
                        "command goes on from there."
                    )
                )
