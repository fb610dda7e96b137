"""Writes the OpenAPI document of the HTTP API into docs: python scripts/openapi.py"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from flowtime.api.app import create
from flowtime.api.server import Config
from flowtime.settings import load

TARGET = Path(__file__).parents[1] / "docs/reference/openapi.json"


def document() -> str:
    """The document as it is published, with the version of the API in place of flowtime's."""
    with tempfile.TemporaryDirectory() as folder:
        app = create(Config(load({"artifacts": folder})))
    described = app.openapi()
    described["info"]["version"] = "1"
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
    print(f"wrote {TARGET}", file=sys.stderr)
