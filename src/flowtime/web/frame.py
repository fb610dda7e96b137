"""What the pages of all artifacts have in common: header, loop bar, lineage, files, exports."""

from __future__ import annotations

from typing import Any

from flowtime.api.server import Call

JSON = dict[str, Any]


def frame(call: Call, shown: JSON) -> JSON:
    """The context that the templates in parts/ need, for an artifact as `Flowtime.show` gives it."""
    return {"artifact": shown, "lineage": shown["lineage"]}
