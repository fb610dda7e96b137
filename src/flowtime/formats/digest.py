"""The content of a table as one hash, the same for every format and every order of rows."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from flowtime.core.series import SeriesSet


def digest(series: SeriesSet) -> str:
    """The format-independent digest: `sha256:` and 64 hex digits.

    It is the SHA-256 over the 32-byte leaves of all series, in ascending order of the leaves. A leaf is
    the SHA-256 over these bytes, one after the other, for a series of n bins:

    1. the component: its length in UTF-8 bytes (uint32, little-endian), then the bytes;
    2. the measure, in the same way;
    3. the time bins: n int64, little-endian, ascending: microseconds since 1970-01-01T00:00:00Z of each
       bin's start, or its index where the grid has no start;
    4. which values are missing: ceil(n / 8) bytes; bit i % 8 (the lowest being 0) of byte i // 8 is 1
       where bin i is missing, and the bits past the last bin are 0;
    5. the values: n IEEE 754 doubles, little-endian, 0.0 where missing.

    Units, the length of a bin and the order of series do not take part: they are the metadata's. A table
    with the same key twice is no SeriesSet and has no digest.
    """
    time_bins = series.time_bins().astype("<i8", copy=False).tobytes()
    leaves = []
    for key, _, row in series:
        leaf = hashlib.sha256()
        for name in (key.component, key.measure):
            text = name.encode()
            leaf.update(struct.pack("<I", len(text)) + text)
        leaf.update(time_bins)
        missing = np.isnan(row)
        leaf.update(np.packbits(missing, bitorder="little").data)
        values = np.where(missing, 0.0, row) if missing.any() else row
        leaf.update(np.ascontiguousarray(values, dtype="<f8").data)
        leaves.append(leaf.digest())
    return "sha256:" + hashlib.sha256(b"".join(sorted(leaves))).hexdigest()
