"""Whether the pages of a Parquet file hold as much as they claim, before the table library believes them.

The library makes room for as many values and bytes as page headers name; a damaged or malicious header
names more than any computer has, and then the whole process is gone. So the structure is read here first:
the footer and every page header, which are Thrift structs in the compact protocol.

Sources: https://parquet.apache.org/docs/file-format/ (parquet.thrift) and the Thrift compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

from typing import Any, BinaryIO

from flowtime.errors import InvalidInput
from flowtime.formats.bounds import FREE_BYTES, TIMES

FREE_VALUES, VALUES_PER_BYTE = 10_000_000, 40
"""All columns together may have so many values, and so many for each byte of the file."""

_WINDOWS = (1 << 12, 1 << 16, 1 << 24)
_MAX_DEPTH = 32
_MAX_PARTS = 2_000_000
"""What a footer may consist of: a column of a row group has some 20 parts."""
Struct = dict[int, Any]
"""The fields of a Thrift struct by their number, as parquet.thrift numbers them."""


class _Thrift:
    """Reads Thrift values in the compact protocol out of bytes; raises ValueError or IndexError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self._parts = 0

    def struct(self, depth: int = 0) -> Struct:
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        fields: Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            # The value of a boolean field is in its type.
            fields[number] = kind == 1 if kind in {1, 2} else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise ValueError(
                f"it is described in over {_MAX_PARTS:,} parts, as too many columns or row groups are"
            )
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                return self._take(8)
            case 8:
                return self._take(self._unsigned())
            case 9 | 10:
                head = self._byte()
                count = self._unsigned() if head >> 4 == 15 else head >> 4
                return [self._value(head & 15, depth + 1) for _ in range(self._fits(count))]
            case 11:
                count = self._fits(self._unsigned())
                kinds = self._byte() if count else 0
                return [
                    (self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1))
                    for _ in range(count)
                ]
            case 12:
                return self.struct(depth + 1)
        raise ValueError(f"no such type: {kind}")

    def _fits(self, count: int) -> int:
        if count > len(self.data) - self.at:
            raise IndexError
        return count

    def _byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def _take(self, count: int) -> bytes:
        self.at += self._fits(count)
        return self.data[self.at - count : self.at]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of over 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)


def check_pages(handle: BinaryIO, source: str) -> None:
    """Raise InvalidInput (FT402) where the file's pages are not those that its footer describes."""
    try:
        _check(handle)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        why = str(error) if type(error) is ValueError else "its structure is damaged"
        raise InvalidInput("FT402", f"the Parquet file cannot be read: {why}", where=source) from error


def _check(handle: BinaryIO) -> None:
    size = handle.seek(0, 2)
    handle.seek(size - 8)
    length = int.from_bytes(handle.read(4), "little")
    if length > size - 12:
        raise ValueError("its footer is longer than the file")
    handle.seek(size - 8 - length)
    footer = _Thrift(handle.read(length)).struct()
    groups: list[Struct] = footer[4]
    rows = [_count(group[3]) for group in groups]
    if sum(rows) != footer[3]:
        raise ValueError(f"its row groups have {sum(rows):,} rows, the footer says {footer[3]:,}")
    values = sum(_count(chunk[3][5]) for group in groups for chunk in group[1])
    if values > FREE_VALUES + VALUES_PER_BYTE * size:
        raise ValueError(f"{size:,} bytes do not hold {sum(rows):,} rows of {values:,} values")
    left = FREE_BYTES + TIMES * size
    for group, count in zip(groups, rows, strict=True):
        for chunk in group[1]:
            left -= _check_chunk(handle, chunk[3], count, size - 8 - length, left)


def _check_chunk(handle: BinaryIO, meta: Struct, rows: int, footer: int, most: int) -> int:
    """One column of one row group, whose pages stand before the `footer`: the bytes that it expands to, at
    most so many.
    """
    name = b".".join(meta[3]).decode()
    values = _count(meta[5])
    if len(meta[3]) == 1 and values != rows:
        raise ValueError(f'the column "{name}" has {values:,} values for {rows:,} rows')
    at = min(offset for offset in (meta[9], meta.get(11) or meta[9]) if offset > 0)
    found = whole = 0
    while found < values:
        # Where a column ends is not taken from the footer: old writers counted it too short.
        header, length = _header(handle, at, footer)
        compressed, expanded = _count(header[3]), _count(header[2])
        at += length + compressed
        if at > footer:
            raise ValueError(f'a page of the column "{name}" goes beyond the end of the data')
        whole += expanded
        if whole > most:
            raise ValueError(
                f'a page of the column "{name}" expands from {compressed:,} to {expanded:,} bytes, and all '
                f"pages to over {FREE_BYTES:,} and {TIMES} times the size of the file"
            )
        found += _check_page(header, name)
    if found != values:
        raise ValueError(f'the pages of the column "{name}" hold {found:,} values instead of {values:,}')
    return whole


def _check_page(header: Struct, name: str) -> int:
    """The number of values in a page."""
    match header[1]:
        case 0:
            return _count(header[5][1])
        case 2 if _count(header[7][1]) > _count(header[2]):
            raise ValueError(f'the dictionary of the column "{name}" has more entries than bytes')
        case 3:
            if _count(header[8][5]) + _count(header[8][6]) > _count(header[3]):
                raise ValueError(f'a page of the column "{name}" has more levels than bytes')
            return _count(header[8][1])
    return 0


def _header(handle: BinaryIO, start: int, end: int) -> tuple[Struct, int]:
    """A page header and its length; most are short."""
    for window in _WINDOWS:
        handle.seek(start)
        thrift = _Thrift(handle.read(min(window, end - start)))
        try:
            return thrift.struct(), thrift.at
        except IndexError:
            continue
    raise ValueError("a page header does not end")


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number of bytes or values")
    return value
