"""What a fit is of, as texts that another fit does not share: by these a checkpoint is known."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sbmlgrad.about import __version__
from sbmlgrad.fitting.parameters import Bounds
from sbmlgrad.fitting.trials import Fitted, Trials
from sbmlgrad.model.model import Model
from sbmlgrad.tables.measurements import Measurements


def identity(
    trials: Trials,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    formulas: Mapping[str, Mapping[str, str]],
    options: Mapping[str, Any],
) -> dict[str, str]:
    """Each part of a fit by its name: model, data, parameters, conditions, formulas, and ``options``.

    Objects that are handed in are known by their fields, where these are said, else by their class alone.
    """
    bounds = [(name, None if own is None else tuple(map(float, own))) for name, own in parameters.items()]
    arranged = [(one.condition, one.names, one.start, one.periods) for one in trials.every]
    return {
        "version": __version__,
        "model": hashed(*(of_model(model) for model in (trials.model, *(one.model for one in trials.every)))),
        "data": hashed(*(_of_measurements(one.measurements) for one in trials.every)),
        "parameters": repr((bounds, [(name, float(value)) for name, value in init.items()])),
        "conditions": hashed(repr(arranged).encode()),
        **{name: repr(list(texts.items())) for name, texts in formulas.items()},
        **{name: of_object(value) for name, value in options.items()},
    }


def hashed(*parts: bytes) -> str:
    """A text that other parts do not share."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def of_model(model: Fitted) -> bytes:
    """What a model is."""
    if isinstance(model, Model):
        return repr((model.elements.source.text, model.elements.extent_molecules, model.quantities())).encode()
    leaves, tree = jax.tree.flatten(dict(model.parameters))
    arrays = (model.stoichiometry, model.x0, *leaves)
    names = repr((model.species, model.reactions, str(tree)))
    return names.encode() + b"".join(np.asarray(array, np.float64).tobytes() for array in arrays)


def _of_measurements(measurements: Measurements) -> bytes:
    parts = [repr((measurements.condition, measurements.cells is None)).encode()]
    for series in measurements.series:
        parts.append(repr((series.observable, series.statistic, series.replicate)).encode())
        parts += [series.times.tobytes(), series.values.tobytes()]
    if measurements.cells is not None:
        parts += [measurements.cells.times.tobytes(), measurements.cells.values.tobytes()]
    return b"".join(parts)


def of_object(value: Any) -> str:
    """What an option is."""
    if value is None or isinstance(value, str | int | float | bool):
        return repr(value)
    if dataclasses.is_dataclass(value):
        fields = [(f.name, of_object(getattr(value, f.name))) for f in dataclasses.fields(value)]
        return f"{type(value).__qualname__}{fields}"
    return type(value).__qualname__
