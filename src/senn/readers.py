"""Files as arrays and tables, or a sentence on why they can't be read.

Nothing in a file is ever run, and what a header claims is checked before memory is set aside.
"""

import gzip
import math
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

MOST_IDX_BYTES = 2**28  # MNIST's largest file has 47 million
MOST_IDX_DIMS = 8  # its images have 3


class DataError(ValueError):
    """Data that cannot be used; the message is one clear sentence for the user."""


class DataTypeError(DataError, TypeError):
    """Values of a type that no number can be read from."""


def first_sentence(error: BaseException) -> str:
    """The first sentence of another library's error, short enough for one of ours."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = lines[0].removeprefix("Error tokenizing data. C error: ").split(". ")[0].rstrip(".")
    return text if len(text) <= 160 else text[:157] + "..."


def is_number(text: str) -> bool:
    """Whether the text says a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_memory(
    n_bytes: int, what: str = "it", advice: str = "give fewer rows or columns"
) -> None:
    """Refuse what would take more than half of the machine's memory, in which copies go too."""
    half = _machine_memory() / 2
    if n_bytes > half:
        raise DataError(
            f"{what} would take {n_bytes / 2**30:.3g} GiB of memory, more than half of this "
            f"machine's ({half / 2**30:.3g} GiB): {advice}."
        )


def _machine_memory() -> float:
    if not hasattr(os, "sysconf"):  # Windows
        return math.inf
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


# --- IDX and npz ---------------------------------------------------------------------------------


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not, as an array of its own shape.

    Raises a `DataError` for a file that is not one, or is shorter or longer than it says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_IDX_BYTES + 1)
    except Exception as error:  # gzip raises OSError, EOFError, zlib.error
        raise DataError(
            f"Cannot read {str(path)!r} ({first_sentence(error)}): fetch the file again."
        ) from error
    n_dims = content[3] if content.startswith(b"\x00\x00\x08") and len(content) > 3 else 0
    start = 4 + 4 * n_dims
    if not 0 < n_dims <= MOST_IDX_DIMS or len(content) < start:
        raise DataError(
            f"{str(path)!r} is no IDX file of bytes, for it starts with "
            f"{content[:8].hex() or 'nothing'}, not with 000008 and a shape: fetch the file again."
        )
    shape = tuple(np.frombuffer(content, dtype=">u4", count=n_dims, offset=4).tolist())
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{str(path)!r} holds {len(content) - start} bytes of data but its header says shape "
            f"{shape}: fetch the file again."
        )
    return np.frombuffer(content, dtype=np.uint8)[start:].reshape(shape)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file that someone gives; a `DataError` that says how to save them."""
    try:
        return plain_arrays(path)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"{error}: save numbers or text with numpy.savez(path, X=..., y=...)."
        ) from error


def plain_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file; unpickling is never allowed, for it could run any code.

    Raises a `DataError` for arrays that memory cannot hold, a plain `ValueError` for another file.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
            check_memory(sum(member.file_size for member in loaded.zip.infolist()))
            arrays = {key: loaded[key] for key in loaded}
        if odd := [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{odd[0]!r} in it is no array")
        if odd := [key for key, array in arrays.items() if not _is_unicode(array)]:
            raise ValueError(f"{odd[0]!r} in it holds what is no character")
        return arrays
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        reason = "it holds objects" if "pickle" in str(error) else first_sentence(error)
        raise ValueError(f"this is no npz file of plain arrays ({reason})") from error


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file; a `DataError` if that is not one, or one of objects."""
    try:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        # A map, because it is made only of a file that is as long as its header says.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        check_memory(array.nbytes)
        array = np.array(array)
    except DataError:
        raise
    except Exception as error:  # NumPy raises many kinds
        reason = "it holds objects" if "Python objects" in str(error) else first_sentence(error)
        raise DataError(
            f"this is no npy file of numbers or text ({reason}): save it with numpy.save."
        ) from error
    parts = [array] if array.dtype.names is None else [array[name] for name in array.dtype.names]
    if not all(map(_is_unicode, parts)):
        raise DataError("it holds what is no character: save it again with numpy.save.")
    return array


def _is_unicode(array: np.ndarray) -> bool:
    """Whether text is text: NumPy takes any 32 bits for a character, and Python does not."""
    if array.dtype.kind != "U" or not array.nbytes:
        return True
    kind = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    return int(np.frombuffer(array.tobytes(), kind).max()) <= sys.maxunicode
