"""The operator table: one family of operators a file, found by looking into this folder."""

import importlib
import pkgutil

from .core import FUNCTIONS, OPERATORS, Case, Operator, Public, Spec, apply, operator, public

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["FUNCTIONS", "OPERATORS", "Case", "Operator", "Public", "Spec", "apply", "operator", "public"]
