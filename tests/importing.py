"""Files of others as text: what is read from them, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest

from flowtime.errors import InvalidInput
from flowtime.formats.telemetry import Imported, import_file
from flowtime.wording import COMMAND


def from_text(text: str | bytes, **options: Any) -> Imported:
    return import_file(io.BytesIO(text.encode() if isinstance(text, str) else text), **options)


def refusal(source: str | bytes | Path, code: str, **options: Any) -> InvalidInput:
    read = import_file if isinstance(source, Path) else from_text
    with pytest.raises(InvalidInput) as caught:
        read(cast("Any", source), **options)
    assert caught.value.code == code, caught.value
    return caught.value.worded(COMMAND)
