"""What stands beside a saved model for a person: its card, and the loss of each pass of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dqmroot.model import Model

__all__ = ["card_text", "loss_table"]


def loss_table(history: Mapping[str, Sequence[float]]) -> str:
    """Return the loss of each pass as csv: pass, loss over the LS learnt from, loss over those watched."""
    rows = zip(history["loss"], history["val_loss"], strict=True)
    lines = [f"{i},{loss:.8g},{watched:.8g}" for i, (loss, watched) in enumerate(rows, 1)]
    return "\n".join(["pass,loss,val_loss", *lines]) + "\n"


def card_text(model: Model) -> str:
    """Return the model card: what a person should know before trusting the model."""
    sample, point = model.sample, model.working_point
    axes = " × ".join(f"{axis.nbins} bins in [{axis.low:g}, {axis.high:g}]" for axis in model.axes)
    lines = [
        f"# {model.me}",
        "",
        f"- Histogram: {axes}",
        f"- Preparation: `{model.preparation}`",
        f"- Detector: `{model.detector!r}`",
    ]
    if sample is not None:
        runs = f"{sample.runs[0]}-{sample.runs[-1]}" if len(sample.runs) > 1 else f"{sample.runs[0]}"
        lines.append(f"- Trained on {sample.n} LS of {len(sample.runs)} run(s), {runs}")
        if sample.held_out:
            lines.append(f"- Working point found on: {sample.held_out}")
    if point is None:
        lines.append("- No working point: the model scores, but flags nothing")
    elif not point.usable:
        lines.append(f"- Working point `{point.method}={point.value:g}`: {point.note}")
    else:
        lines.append(
            f"- Working point `{point.method}={point.value:g}`: cut {point.threshold:.6g} from {point.n} LS "
            f"(mean {point.mean:.4g}, σ {point.std:.4g}); expected false rate {point.expected_false_rate:.3g}"
        )
        if point.expected_detection is not None:
            lines.append(f"- Detects {point.expected_detection:.3g} of {point.n_bad} bad LS")
        if point.note:
            lines.append(f"- Note: {point.note}")
    losses = model.detector.history_.get("val_loss", [])
    if losses:
        lines.append(f"- Training: {len(losses)} passes, best validation loss {min(losses):.4g}")
    lines += [
        "- Known limits: judges only this histogram with these bins; says nothing of runs unlike those it learnt from",
        "",
    ]
    return "\n".join(lines)
