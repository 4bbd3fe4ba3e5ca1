"""Models of a campaign, wherever they are: a model folder, an ``.onnx`` file, or a folder of such files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from dqmroot.batch.work import digest
from dqmroot.config import Campaign
from dqmroot.deployment import load_exported, read_models
from dqmroot.model import Model, load_models

__all__ = ["find_models", "model_digests", "model_place"]


def model_place(campaign: Campaign) -> Path:
    """Return where the models are, or will be."""
    return Path(campaign.output.model or Path(campaign.output.folder) / "models")


def exported_files(place: Path) -> list[Path]:
    """Return the exported models of a place; none where it is a model folder."""
    if place.suffix == ".onnx":
        return [place] if place.is_file() else []
    return [] if (place / "model.json").is_file() else sorted(place.rglob("*.onnx"))


def find_models(place: Path) -> list[Model]:
    """Return the models of a place; none where there are none yet.

    Raises:
        InputError: They cannot be read.
    """
    if exported_files(place):
        return read_models(place)
    # Networks are not made ready here: this process scores nothing.
    return load_models(place) if (place / "model.json").is_file() else []


def model_digests(place: Path) -> dict[str, str]:
    """Return for each monitoring element of a place what changes when its model does.

    Raises:
        InputError: The models cannot be read.
    """
    files = exported_files(place)
    if files:
        return {load_exported(path).me: hashlib.sha256(path.read_bytes()).hexdigest()[:32] for path in files}
    head = json.loads((place / "model.json").read_text(encoding="utf-8"))
    return {entry["me"]: digest(entry) for entry in head["models"]}
