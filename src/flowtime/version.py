"""The version of flowtime."""

__version__ = "0.1.0"

ENGINE_VERSION = f"ft-eng {__version__}"
"""How catalogs and exported files name the engine that made them."""
