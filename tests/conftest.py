"""What all tests share: where data and models lie, and stricter rules for JAX."""

import os
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Broadcasting between ranks is the commonest silent mistake in array code; here it is an error.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Published models and data sets, which are not part of the repository."""
    path = Path(os.environ.get("SBMLGRAD_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no data sets at {path}; set SBMLGRAD_DATA to their folder")
    return path


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The example models of the repository, each a folder with model.xml, data.csv and README.md."""
    return ROOT / "models"
