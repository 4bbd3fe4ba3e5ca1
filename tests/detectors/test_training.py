"""What the training loop promises beyond what the detectors' own tests show."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from dqmroot.detectors import training
from dqmroot.detectors.backend import load_keras
from dqmroot.detectors.dense import DenseAutoencoder
from dqmroot.detectors.training import Schedule, gpus, require_gpu, train
from dqmroot.errors import UsageError

SAMPLE = np.random.default_rng(0).dirichlet(np.full(20, 20.0), 64).astype(np.float32)


def test_a_missing_gpu_is_told(monkeypatch) -> None:
    monkeypatch.setattr(training, "gpus", list)
    with pytest.raises(UsageError, match=r"no GPU: .* sees cpu.*gpu"):
        require_gpu()
    monkeypatch.setattr(training, "gpus", lambda: ["gpu:0"])
    assert require_gpu() == "gpu:0"


def test_a_backend_that_raises_has_no_gpu(monkeypatch) -> None:
    def refuse(kind: str) -> list[str]:
        raise RuntimeError("Unknown backend: 'gpu' requested")

    monkeypatch.setattr(load_keras().distribution, "list_devices", refuse)
    assert gpus() == []


@pytest.mark.parametrize(
    "text", ["RESOURCE_EXHAUSTED: Out of memory while trying to allocate", "ResourceExhaustedError: OOM"]
)
def test_memory_of_the_device_that_does_not_suffice_is_told(text: str) -> None:
    network = DenseAutoencoder().build(20)

    def fail(*_: object) -> float:
        raise RuntimeError(text)

    network.train_on_batch = fail
    with pytest.raises(UsageError, match="batch of 32: lower batch_size"):
        train(network, SAMPLE, SAMPLE, Schedule(3, 32, 0.1, 5, 0))


def test_other_errors_are_not_hidden() -> None:
    network = DenseAutoencoder().build(20)

    def fail(*_: object) -> float:
        raise RuntimeError("something else")

    network.train_on_batch = fail
    with pytest.raises(RuntimeError, match="something else"):
        train(network, SAMPLE, SAMPLE, Schedule(3, 32, 0.1, 5, 0))


@pytest.mark.slow
def test_networks_learn_on_jax_too() -> None:
    pytest.importorskip("jax")
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/detectors/test_contract.py",
        "-k", "dense or conv or poisson or significance or cnn",
    ]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
