"""Files are whole or not there; what is damaged, of another format, or in use is named."""

import json
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

from metagrad import files

ARRAYS = {"x": np.arange(4.0), "name": np.array(["float16", "b"]), "none": np.zeros((0, 3), np.float32)}


def written(path, number=2, arrays=ARRAYS):
    files.write_npz(path, arrays, {"format": number, "note": "a note"})
    return path


def read(path, **more):
    return files.read_npz(path, "here", **({"formats": (2,)} | more))


def test_arrays_and_description_come_back(tmp_path):
    arrays, about = read(written(tmp_path / "a.npz"))
    assert about == {"format": 2, "note": "a note"}
    assert set(arrays) == set(ARRAYS)
    assert all(np.array_equal(arrays[name], x) and arrays[name].dtype == x.dtype for name, x in ARRAYS.items())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_the_same_arrays_give_the_same_bytes():
    assert files.npz_bytes(ARRAYS) == files.npz_bytes(dict(reversed(ARRAYS.items())))
    assert set(files.npz_arrays(files.npz_bytes(ARRAYS))) == set(ARRAYS)


@pytest.mark.parametrize(
    ("came", "formats", "message"),
    [
        (1, (2,), r"an old checkpoint of another format \(1\); expected one of format 2\. Use the version .* wrote it"),
        (3, (1, 2), r"a newer checkpoint of another format \(3\); expected one of format 1 or 2\. Update metagrad"),
    ],
)
def test_another_format_is_said(tmp_path, came, formats, message):
    path = written(tmp_path / "a.npz", came)
    with pytest.raises(ValueError, match=rf"here: checkpoint is .*a\.npz, {message}"):
        read(path, formats=formats)


@pytest.mark.parametrize("number", [None, "2", 2.0, True])
def test_a_format_that_is_no_integer_is_damage(tmp_path, number):
    with pytest.raises(ValueError, match="which cannot be read"):
        read(written(tmp_path / "a.npz", number))


def test_only_the_first_format_may_lack_a_checksum(tmp_path):
    path = tmp_path / "a.npz"
    for number in (1, 2):
        about = np.frombuffer(json.dumps({"format": number}).encode(), dtype=np.uint8)
        np.savez(path, about=about, x=np.ones(2))
        if number == 1:
            assert np.array_equal(read(path, formats=(1,))[0]["x"], np.ones(2))
        else:
            with pytest.raises(ValueError, match="it has no checksum"):
                read(path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a.update(x=a["x"][::-1]),
        lambda a: a.update(x=a["x"].reshape(2, 2)),
        lambda a: a.update(x=a["x"].view(np.int64)),
        lambda a: a.update(y=a.pop("x")),
        lambda a: a.update(more=np.zeros(1)),
        lambda a: a.pop("none"),
        lambda a: a.update(about=np.frombuffer(b'{"format": 2, "note": "b"}', dtype=np.uint8)),
    ],
)
def test_an_edit_does_not_match_the_checksum(tmp_path, edit):
    path = written(tmp_path / "a.npz")
    with np.load(path) as file:
        arrays = dict(file)
    edit(arrays)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="does not match its checksum"):
        read(path)


def test_a_header_that_promises_more_than_there_is(tmp_path):
    """An .npy of ten bytes that says it holds a tebibyte."""
    path = tmp_path / "a.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("about.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(10))
    with pytest.raises(ValueError, match="which cannot be read"):
        read(path)


def test_no_flipped_bit_and_no_cut_changes_what_is_read(tmp_path):
    """Found, or in a date or another field of the archive that nobody reads."""
    path = written(tmp_path / "a.npz")
    data, (arrays, about) = path.read_bytes(), read(path)
    found = 0
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        try:
            again = read(path)
        except ValueError:
            found += 1
        else:
            assert again[1] == about
            assert all(np.array_equal(again[0][name], x) for name, x in arrays.items())
    assert found > 0.7 * len(data) / 3
    for cut in range(0, len(data), 9):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match="which cannot be read"):
            read(path)


def fail(monkeypatch, where, number):
    def trouble(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(where, trouble)


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_what_fails_keeps_the_old_files_and_names_the_new_one(tmp_path, monkeypatch, where):
    paths = [tmp_path / "a", tmp_path / "b"]
    files.write_together(dict.fromkeys(paths, b"old"))
    fail(monkeypatch, where, 28)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_together(dict.fromkeys(paths, b"new"))
    assert caught.value.filename == str(paths[0])
    assert [path.read_bytes() for path in paths] == [b"old", b"old"]
    assert sorted(tmp_path.iterdir()) == paths


def test_files_that_belong_together_are_replaced_when_all_are_written(tmp_path, monkeypatch):
    paths, fsync, synced = [tmp_path / "a", tmp_path / "b"], os.fsync, []
    files.write_together(dict.fromkeys(paths, b"old"))

    def second_fails(handle):
        synced.append(handle)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr("os.fsync", second_fails)
    with pytest.raises(OSError, match="No space left"):
        files.write_together(dict.fromkeys(paths, b"new"))
    assert [path.read_bytes() for path in paths] == [b"old", b"old"]


@pytest.mark.skipif(os.name != "posix", reason="folders that can be synced")
def test_the_folder_is_synced_where_that_works(tmp_path, monkeypatch):
    fsync, folders = os.fsync, []

    def look(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            folders.append(os.fstat(handle).st_ino)
            raise OSError(22, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr("os.fsync", look)
    files.write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert folders == [tmp_path.stat().st_ino]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_folder_that_is_not_there_is_named_by_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        files.write(tmp_path / "none" / "a", b"")
    assert caught.value.filename == str(tmp_path / "none" / "a")


def write_often(path, byte):
    for _ in range(50):
        files.write(path, bytes([byte]) * 10_000)


@pytest.mark.parametrize("kind", ["threads", "forks"])
def test_writers_at_one_time_leave_one_of_their_files(tmp_path, kind):
    """Each has a temporary file of its own, in whatever process or thread it is."""
    path = tmp_path / "a"
    if kind == "forks" and "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    if kind == "threads":
        trouble = []

        def guarded(byte):
            try:
                write_often(path, byte)
            except OSError as error:
                trouble.append(error)

        workers = [threading.Thread(target=guarded, args=(byte,)) for byte in (1, 2, 3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not trouble
    else:
        code = (
            "import os, sys; from pathlib import Path; from tests.test_files import write_often\n"
            "pids = [os.fork() for _ in range(2)]\n"
            "write_often(Path(sys.argv[1]), sum(pid > 0 for pid in pids))\n"
            "sys.exit(any(os.waitpid(pid, 0)[1] for pid in pids if pid) if all(pids) else 0)"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    content = path.read_bytes()
    assert len(content) == 10_000
    assert len(set(content)) == 1
    assert [left.name for left in tmp_path.iterdir()] == ["a"]


HOLD = """
import sys
from pathlib import Path
from metagrad import files
with files.alone(Path(sys.argv[1]), "there"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_holds_the_file_until_it_is_killed(tmp_path):
    path = tmp_path / "[a].npz"
    (tmp_path / "[a].npz.0.part").write_bytes(b"half")
    (tmp_path / "a.npz.0.part").write_bytes(b"of another file")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=r"here: file is .*\.npz, which another run is writing; expected one run"):
            files.alone(path, "here", "file").__enter__()
        other.kill()
    with files.alone(path, "here"):
        pass
    assert sorted(left.name for left in tmp_path.glob("*.part")) == ["a.npz.0.part"]


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_link_that_someone_laid_is_not_followed(tmp_path, monkeypatch):
    """Neither in the place of the temporary file, whose name nobody can foresee, nor in that of the lock."""
    victim, path = tmp_path / "victim", tmp_path / "a.npz"
    victim.write_bytes(b"precious")
    monkeypatch.setattr("os.urandom", bytes)
    (tmp_path / f"a.npz.{'00' * 8}.part").symlink_to(victim)
    with pytest.raises(FileExistsError) as caught:
        files.write(path, b"data")
    assert caught.value.filename == str(path)
    lock = tmp_path / ".a.npz.lock"
    lock.symlink_to(victim)
    with (
        pytest.raises(ValueError, match=r"here: file is .*a\.npz, beside which \.a\.npz\.lock is a link; expected"),
        files.alone(path, "here", "file"),
    ):
        pass
    lock.unlink()
    lock.mkdir()
    with pytest.raises(ValueError, match="is a folder"), files.alone(path, "here"):
        pass
    assert victim.read_bytes() == b"precious"
    path.symlink_to(victim)
    monkeypatch.undo()
    files.write(path, b"data")  # the link is replaced, not what it leads to
    assert victim.read_bytes() == b"precious"
    assert not path.is_symlink()


def test_a_lock_that_is_there_is_not_emptied(tmp_path):
    lock = tmp_path / ".a.npz.lock"
    lock.write_bytes(b"a note")
    with files.alone(tmp_path / "a.npz", "here"):
        pass
    assert lock.read_bytes() == b"a note"


def test_a_lock_of_another_user_counts(tmp_path, monkeypatch):
    """It may be read and not written to: who cannot make it anew is refused all the same while it is held."""
    path, opened = tmp_path / "a.npz", os.open

    def of_another_user(name, flags, *more):
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return opened(name, flags, *more)

    with files.alone(path, "there"):
        monkeypatch.setattr("os.open", of_another_user)
        with pytest.raises(ValueError, match="which another run is writing"), files.alone(path, "here"):
            pass
    with files.alone(path, "here"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_keeps_who_may_read_it(tmp_path, mode):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    files.write(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


def test_where_nobody_can_write_nobody_needs_to_hold(tmp_path, monkeypatch):
    """As in a folder of a file system that may only be read: what is there can be used."""
    fail(monkeypatch, "os.open", 30)
    entered = False
    with files.alone(tmp_path / "a.npz", "here"):
        entered = True
    assert entered
    with pytest.raises(OSError, match="Read-only") as caught:
        files.write(tmp_path / "a.npz", b"")
    assert caught.value.filename == str(tmp_path / "a.npz")
    fail(monkeypatch, "os.open", 28)
    with pytest.raises(OSError, match="No space left"), files.alone(tmp_path / "a.npz", "here"):
        pass


def test_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = files.Lines(path)
    assert path.read_bytes() == b""
    for k in range(3):
        lines.append({"k": k})
    whole = b'{"k": 0}\n{"k": 1}\n{"k": 2}\n'
    assert path.read_bytes() == whole
    assert lines.mark() == {"bytes": 27, "sha256": files.sha256(whole)}
    again = files.Lines(path, whole[:9])
    again.append({"k": 1})
    assert path.read_bytes() == whole[:18]
    assert again.mark() == {"bytes": 18, "sha256": files.sha256(whole[:18])}
    with pytest.raises(ValueError, match="JSON"):
        lines.append({"k": np.nan})
    with pytest.raises(FileNotFoundError) as caught:
        files.Lines(tmp_path / "none" / "b")
    assert caught.value.filename == str(tmp_path / "none" / "b")


def test_a_mark_is_on_the_disk(tmp_path, monkeypatch):
    lines, synced, fsync = files.Lines(tmp_path / "a"), [], os.fsync

    def look(handle):
        synced.append(os.fstat(handle).st_size)
        fsync(handle)

    monkeypatch.setattr("os.fsync", look)
    lines.append({"k": 0})
    assert not synced
    lines.mark()
    assert synced == [9]
