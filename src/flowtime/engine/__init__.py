"""The engine: a model becomes a plan, a plan becomes series. No files, no clock, no other randomness."""

from __future__ import annotations

from flowtime.engine.evaluate import Evaluation, evaluate
from flowtime.engine.plan import SEMANTICS_VERSION, Plan, compile

__all__ = ["SEMANTICS_VERSION", "Evaluation", "Plan", "compile", "evaluate"]
