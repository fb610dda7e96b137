from flowtime.library import Artifact as Artifact
from flowtime.library import Evaluation as Evaluation
from flowtime.library import FlowtimeError as FlowtimeError
from flowtime.library import Model as Model
from flowtime.library import Registry as Registry
from flowtime.library import Run as Run
from flowtime.library import Telemetry as Telemetry
from flowtime.library import evaluate as evaluate
from flowtime.library import load_model as load_model
from flowtime.version import __version__ as __version__

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
