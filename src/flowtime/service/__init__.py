"""What flowtime can do: one short method for each use case, the same for every face.

Results are plain JSON data. The engine, the table library and what else is slow to import are imported
by the methods that need them, so that finding and showing artifacts starts at once.
"""

from __future__ import annotations

from flowtime.registry.query import SORTS, moment
from flowtime.service.artifacts import Artifacts
from flowtime.service.series import Series
from flowtime.service.studies import Studies
from flowtime.service.values import Values

__all__ = ["SORTS", "Flowtime", "moment"]


class Flowtime(Artifacts, Series, Studies, Values):
    """All use cases over one registry."""
