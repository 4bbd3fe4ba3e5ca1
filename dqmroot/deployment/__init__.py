"""Models that leave home: one ONNX file holds preparation, network, score and flag, and onnxruntime alone runs it."""

from __future__ import annotations

from dqmroot.deployment.exported import ExportedModel, load_exported, read_models
from dqmroot.deployment.writing import export, export_models

__all__ = ["ExportedModel", "export", "export_models", "load_exported", "read_models"]
