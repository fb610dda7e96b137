"""What was wrong with a data file, as a table for those who mend it."""

from __future__ import annotations

import csv
import io

from flowtime.errors import FlowtimeError

HEADER = ("row", "code", "problem")


def problem_table(error: FlowtimeError | None) -> bytes:
    """The problems as CSV, one a line, under HEADER; no lines where `error` is None.

    No cell begins as a formula does in a spreadsheet. Where there are more problems than were kept, the
    last line, without a row, says how many.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HEADER)
    if error is not None and error.errors:
        table.writerows((each.line or "", each.code, _plain(each.message)) for each in error.errors)
        if error.count > len(error.errors):
            more = f"{error.count - len(error.errors)} more problems are not listed"
            table.writerow(("", error.code, more))
    elif error is not None:
        table.writerow(("", error.code, _plain(error.message)))
    return text.getvalue().encode()


def _plain(message: str) -> str:
    """The message, after a word where it begins with a name that a spreadsheet would compute."""
    return f"column {message}" if message.startswith(("=", "+", "-", "@", "\t", "\r")) else message
