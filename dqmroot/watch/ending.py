"""The whole certification of a run that ended: the same pieces, reduction and files as in a campaign, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dqmroot.batch.index import FileIndex, identity, index_file, latest_versions
from dqmroot.batch.plan import plan_pieces, plan_runs
from dqmroot.batch.work import CertifyRun, ScorePiece
from dqmroot.config import Resources, Watch
from dqmroot.deployment import read_models
from dqmroot.errors import InputError

__all__ = ["end_run"]


def end_run(settings: Watch, run: int, files: Sequence[str]) -> None:
    """Certify a whole run, with loss maps, pictures and report; what stood in its folder is replaced.

    Args:
        settings: Those of the watcher.
        run: Which run.
        files: The files that have LS of it; those that are gone or broken meanwhile are left out.
    """
    models = read_models(settings.model)
    mes = tuple(model.me for model in models)
    indices: list[FileIndex] = []
    for path in latest_versions(files)[0]:
        try:
            indices.append(index_file(path, mes))
        except InputError:
            # It was told when it came; its LS keep their verdicts, and stand in no picture.
            continue
    spanning = [model.me for model in models if model.spans_lumis]
    limits = Resources()
    pieces = plan_pieces(
        indices,
        [me for me in mes if me not in spanning],
        keep=lambda keys: keys >> np.uint64(32) == run,
        lumis=limits.lumis_per_piece,
        nbytes=limits.mib_per_piece * 2**20,
    )
    pieces += plan_runs(indices, spanning, keep=lambda keys: keys >> np.uint64(32) == run)
    out = Path(settings.output)
    with tempfile.TemporaryDirectory(prefix=".pieces.", dir=out) as scratch:
        targets = [str(Path(scratch) / f"{i}.npz") for i in range(len(pieces))]
        for piece, target in zip(pieces, targets, strict=True):
            known = {path: identity(path) for path in piece.files}
            ScorePiece(piece.keys, known, piece.mes, settings.model, "", target)(True)
        CertifyRun(
            run=run,
            pieces=targets,
            models=settings.model,
            stamp="",
            mes=mes,
            folder=str(out / "runs" / str(run)),
            name="",
            dataset=settings.dataset,
            rule=settings.rule,
            inputs=[index.describe() for index in indices],
            report=True,
        )(True)
