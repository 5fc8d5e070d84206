"""Arrays out of an npz archive that may be anything: every size is known, and bounded, before memory is taken for it.

numpy's own reader takes the memory that an array's header asks for before it looks at how much there is, and evaluates
the header as Python; so the few headers that numpy writes are read here.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgchat.trace.limits import MOST_BYTES, MOST_ENTRIES, MOST_FILE_BYTES

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': '([<>|][biuf][1248])', 'fortran_order': (False|True), 'shape': \(((?:\d{1,12}, ?)*\d{0,12})\), \} *\n"
)


class TraceError(Exception):
    """The bytes are no trace, or a damaged one; the text is one sentence."""


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an archive, by name.

    Raises:
        TraceError: it is none, is damaged, or is larger than `limits` allows.
    """
    if len(data) > MOST_FILE_BYTES:
        raise TraceError(f"The trace is larger than {MOST_FILE_BYTES >> 20} MiB.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check(entries)
            return {entry.filename.removesuffix(".npy"): _array(_bytes_of(archive, entry)) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, OSError, EOFError) as error:
        raise TraceError(f"The trace is damaged: {error}.") from error
    except (RuntimeError, LookupError, TypeError) as error:  # an encrypted entry; a name's strange encoding
        raise TraceError("The trace is damaged: it holds what is no array.") from error


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MOST_ENTRIES:
        raise TraceError(f"The trace holds more than {MOST_ENTRIES} arrays.")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise TraceError(f"The trace unpacks to more than {MOST_BYTES >> 20} MiB.")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise TraceError("The trace is damaged: it is compressed in a way of its own.")


def _bytes_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The entry's bytes; never more of them than it claims, and checked against its checksum."""
    with archive.open(entry) as file:
        data = file.read(entry.file_size)
    if len(data) != entry.file_size:
        raise ValueError("it ends too early")
    return data


def _array(data: bytes) -> NDArray[Any]:
    """One array, as `numpy.save` writes those of numbers."""
    wide = data[6:7] != b"\x01"
    begin = 12 if wide else 10
    if data[:6] != _MAGIC or data[6:7] not in (b"\x01", b"\x02", b"\x03") or len(data) < begin:
        raise ValueError("it holds what is no array")
    length = int.from_bytes(data[8:begin], "little")
    header = _HEADER.fullmatch(data[begin : begin + length].decode("latin-1"))
    if header is None:
        raise ValueError("it holds an array of something else than numbers")
    kind = np.dtype(header[1])
    shape = tuple(int(part) for part in header[3].split(",") if part.strip())
    body = data[begin + length :]
    if math.prod(shape) * kind.itemsize != len(body):
        raise ValueError("an array's size is not what it claims")
    array: NDArray[Any] = np.frombuffer(body, kind)
    return array.reshape(shape[::-1]).T if header[2] == "True" else array.reshape(shape)
