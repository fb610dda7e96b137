"""flowtime: a deterministic flow-modelling engine with a memory.

import flowtime as ft

reg = ft.Registry("artifacts")
run = reg.run(ft.load_model("checkout.yaml"), name="baseline")
run.to_pandas()
"""

from importlib import import_module

from flowtime.version import __version__

__all__ = [
    "Artifact",
    "Evaluation",
    "FlowtimeError",
    "Model",
    "Registry",
    "Run",
    "Telemetry",
    "__version__",
    "evaluate",
    "load_model",
]


def __getattr__(name: str) -> object:
    """Imports the public names when one is asked for, so that `import flowtime` stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module 'flowtime' has no attribute {name!r}")
    return getattr(import_module("flowtime.library"), name)


def __dir__() -> list[str]:
    return __all__
