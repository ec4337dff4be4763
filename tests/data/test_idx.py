"""IDX files: every type and rank come back, whatever is damaged is said."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metagrad.data import read_idx
from metagrad.data.idx import parse_idx
from tests.data.idx_files import CODES, idx_bytes

arrays = st.sampled_from(sorted(CODES)).flatmap(
    lambda code: hnp.arrays(np.dtype(code), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
)


@given(arrays)
def test_what_was_written_is_read(array):
    found = parse_idx(idx_bytes(array), "here")
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_a_header_of_mnist_spelt_out(tmp_path):
    header = bytes.fromhex("00000803 00000002 00000001 00000003")
    (tmp_path / "a").write_bytes(header + bytes([1, 2, 3, 4, 5, 255]))
    assert read_idx(tmp_path / "a").tolist() == [[[1, 2, 3]], [[4, 5, 255]]]


def test_packed_and_plain_are_told_apart_by_their_content(tmp_path):
    content = idx_bytes(np.arange(6, dtype=np.int16))
    (tmp_path / "plain.gz").write_bytes(content)
    (tmp_path / "packed").write_bytes(gzip.compress(content))
    for name in ("plain.gz", "packed"):
        assert read_idx(str(tmp_path / name)).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_array_may_be_written_to(tmp_path):
    (tmp_path / "a").write_bytes(idx_bytes(np.zeros(3, dtype=np.uint8)))
    array = read_idx(tmp_path / "a")
    array[0] = 1
    assert array[0] == 1


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))
DAMAGED = {
    "empty": (b"", "begins with the bytes ''.*expected an IDX file"),
    "a page instead of the file": (b"<!DOCTYPE html>", "3c 21 44 4f"),
    "an unknown type": (b"\0\0\x0a\x01" + GOOD[4:], "00 00 0a 01"),
    "no axes": (GOOD[:3] + b"\0" + GOOD[4:], "of rank 0; expected a rank of 1 to 32"),
    "more axes than an array has": (GOOD[:3] + b"\xff" + GOOD[4:] + 999 * b"\1", "of rank 255; expected a rank of 1"),
    "a header cut short": (GOOD[:9], "truncated within its header: 9 bytes; expected at least 12"),
    "entries cut short": (GOOD[:-1], r"truncated: 17 bytes; expected 18, as its header says \(shape \(2, 3\)\)"),
    "an entry too many": (GOOD + b"\0", "with more behind its last entry: 19 bytes; expected 18"),
    "packed and cut short": (gzip.compress(GOOD)[:-9], "a damaged gzip file"),
    "packed, a bit changed": (gzip.compress(GOOD)[:-5] + b"\xff" + gzip.compress(GOOD)[-4:], "a damaged gzip file"),
    "packed, not by deflate": (b"\x1f\x8b\x07" + gzip.compress(GOOD)[3:], "a damaged gzip file"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file(what, tmp_path):
    content, message = DAMAGED[what]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"read_idx: path is .*file, .*{message}"):
        read_idx(tmp_path / "file")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nowhere")
