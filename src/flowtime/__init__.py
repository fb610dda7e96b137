"""flowtime: a deterministic flow-modelling engine with a memory."""

from flowtime.version import __version__

__all__ = ["__version__"]
