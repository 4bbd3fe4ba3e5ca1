"""The one door to Keras, which brings TensorFlow or JAX with it: slowly, and not quietly."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.scientific import load_scipy

__all__ = ["load_keras", "values_of", "weights_of"]


def load_keras() -> Any:
    """Import Keras and wake its backend; what the backend greets with on stderr is kept back unless it fails.

    Raises:
        ImportError: Keras or its backend is not installed; what was said on stderr is shown then.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    load_scipy()  # JAX takes its linear algebra from SciPy
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow's C++ code logs to the file descriptor before it reads any setting.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(1)
            # Many networks in one process make it warn of retracing, which is what they need.
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    return keras


def values_of(variables: Iterable[Any]) -> list[NDArray[Any]]:
    """Return copies of Keras variables; Keras' own way warns on one backend or the other with NumPy 2."""
    found = [variable.value for variable in variables]
    return [np.array(value.numpy() if hasattr(value, "numpy") else value) for value in found]


def weights_of(network: Any) -> list[NDArray[Any]]:
    """Return copies of all weights of a network, in the order that ``set_weights`` takes."""
    return values_of(network.weights)
