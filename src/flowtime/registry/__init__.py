"""All artifacts in one place: published whole, found again, never forgotten.

Reading imports neither msgspec nor a table library, so that listing starts fast; `Catalog`, which only
writers need, is in `flowtime.registry.catalog`.
"""

from __future__ import annotations

from flowtime.registry.follower import Progress
from flowtime.registry.index import Rebuilt
from flowtime.registry.publication import Staging
from flowtime.registry.query import SORTS, Page, Query
from flowtime.registry.reader import Reader
from flowtime.registry.registry import Registry

__all__ = ["SORTS", "Page", "Progress", "Query", "Reader", "Rebuilt", "Registry", "Staging"]
