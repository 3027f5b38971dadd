"""What the fit of a problem is of, as texts by which its checkpoint is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sbmlgrad.about import __version__
from sbmlgrad.fitting.identity import hashed, of_model, of_object
from sbmlgrad.petab.definition import Definition


def identity(definition: Definition, starts: Any, options: Mapping[str, Any]) -> dict[str, str]:
    """Each part of a fit by its name: models, tables, starts and ``options``."""
    parts = (
        definition.parameters,
        definition.observables,
        definition.experiments,
        definition.measurements,
        definition.aliases,
    )
    return {
        "version": __version__,
        "models": hashed(*(of_model(model) for model in definition.models.values())),
        "tables": hashed(*(repr(part).encode() for part in parts)),
        "starts": repr(np.asarray(starts).tolist()),
        **{name: of_object(value) for name, value in options.items()},
    }
