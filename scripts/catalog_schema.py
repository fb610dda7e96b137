"""Writes the JSON Schema of `catalog.json` into the reference: python scripts/catalog_schema.py"""

from __future__ import annotations

import json
from pathlib import Path

from flowtime.registry.catalog import schema

TARGET = Path(__file__).parents[1] / "docs/reference/catalog.schema.json"


def text() -> str:
    """The published file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text(), encoding="utf-8")
