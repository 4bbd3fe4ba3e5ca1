"""The campaign of the tests of batch, as it would land file by file."""

from __future__ import annotations

from campaign_fixtures import files, models

__all__ = ["files", "models"]
