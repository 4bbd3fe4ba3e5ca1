"""What stands beside a saved model for a person: its card, and the loss of each pass of its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dqmroot.detectors.base import Sees
    from dqmroot.model import Model

__all__ = ["LIMITS", "card_text", "loss_table"]

_SQUARED = "squared differences of shares weigh full bins most: a fault in bins that hold little hardly counts"
_SHAPE = "judges the shape only: the same loss everywhere is not seen"
_STRETCHED = "fits scale and rate of each LS: what only stretches the spectrum may not be seen"
_SEQUENCE = "needs the LS before in the run: the first of a run are judged by the mean alone"

# What each detector cannot see, whatever it learnt.
LIMITS: Mapping[str, Sequence[str]] = {
    "beta_binomial": (_SHAPE,),
    "chi2": (_SHAPE, "adds up all bins: one bad bin among thousands drowns"),
    "cnn_classifier": ("knows the kinds of fault that it was shown, and no others",),
    "conv_autoencoder": (
        _SHAPE,
        "may learn to reproduce a fault that lies in the good sample",
    ),
    "dense_autoencoder": (_SHAPE, _SQUARED),
    "drifting_reference": (_SEQUENCE, "a fault that grows slowly, or lasts, becomes the reference"),
    "forecaster": (_SEQUENCE, "a fault that lasts is forecast after a while"),
    "isolation_forest": (_SHAPE, "sees coarse changes only, no single bins"),
    "kolmogorov": (_SHAPE, "hardly sees changes at the ends of the spectrum"),
    "landau_fit": (_STRETCHED, "for one peak with a tail"),
    "likelihood_scan": ("looks for faults of the sizes and strengths that it was given",),
    "max_pull": (_SHAPE, "sees single bins; a faint change spread over many is lost"),
    "moments": (_SHAPE, "sees what moves mean, width or higher moments, and nothing local"),
    "nearest_template": (_SHAPE, _SQUARED),
    "nmf": (_SHAPE, _SQUARED),
    "one_class_svm": (_SHAPE, "sees coarse changes only, no single bins"),
    "pca": (_SHAPE, _SQUARED),
    "poisson_autoencoder": (_SHAPE,),
    "profiled_map": ("fits the rate of each LS: the same loss everywhere is not seen",),
    "profiled_spectrum": (_STRETCHED,),
    "significance_network": ("knows the kinds of fault that it was shown, and no others",),
    "spatial": ("bins that good LS reconstruct badly count less",),
    "summed": (_SEQUENCE, "an LS is flagged for faults of those before it, too"),
    "time_product": (_SEQUENCE, "a fault of a single LS is not seen"),
    "z_score": (_SHAPE, "sees single bins; a faint change spread over many is lost"),
    "zero_fraction": ("sees empty bins only: no hot ones, no half-dead ones, no changes of shape",),
}


def loss_table(history: Mapping[str, Sequence[float]]) -> str:
    """Return the loss of each pass as csv: pass, loss over the LS learnt from, loss over those watched."""
    rows = zip(history["loss"], history["val_loss"], strict=True)
    lines = [f"{i},{loss:.8g},{watched:.8g}" for i, (loss, watched) in enumerate(rows, 1)]
    return "\n".join(["pass,loss,val_loss", *lines]) + "\n"


def card_text(model: Model) -> str:
    """Return the model card: what a person should know before trusting the model."""
    axes = " × ".join(f"{axis.nbins} bins in [{axis.low:g}, {axis.high:g}]" for axis in model.axes)
    parts = [
        f"# {model.me}\n",
        f"- Histogram: {model.storage} {axes}",
        f"- Preparation: `{model.preparation}`" if str(model.preparation) else "- Preparation: none",
        f"- Detector: `{model.detector!r}`",
        "\n## Sample\n",
        *_sample(model),
        "\n## Figures\n",
        *_figures(model),
        "\n## Known limits\n",
        *(f"- {line[0].upper()}{line[1:]}" for line in _limits(model)),
        "",
    ]
    return "\n".join(parts)


def _sample(model: Model) -> Iterator[str]:
    sample = model.sample
    if sample is None:
        yield "- Not told."
        return
    runs = f"{sample.runs[0]}-{sample.runs[-1]}" if len(sample.runs) > 1 else f"{sample.runs[0]}"
    yield f"- {sample.n} LS of {len(sample.runs)} run(s), {runs}"
    for run, pairs in list(sample.lumis.items())[:20]:
        yield f"  - {run}: LS " + ", ".join("-".join(map(str, dict.fromkeys(pair))) for pair in pairs)
    if len(sample.lumis) > 20:
        yield f"  - … and {len(sample.lumis) - 20} more runs; model.json has them all"
    if sample.entries is not None:
        yield f"- Entries of an LS: {sample.entries[0]:,.0f} to {sample.entries[1]:,.0f}"
    for name, (low, high) in sample.conditions.items():
        yield f"- {name}: {low:g} to {high:g}"
    if sample.held_out:
        yield f"- Kept apart for the cut: {sample.held_out}"


def _figures(model: Model) -> Iterator[str]:
    point, sample = model.working_point, model.sample
    if point is None:
        yield "- No working point: the model scores, but flags nothing"
    elif not point.usable:
        yield f"- Working point `{point.method}={point.value:g}`: {point.note}"
    else:
        yield (
            f"- Working point `{point.method}={point.value:g}`: cut {point.threshold:.6g} from {point.n} LS "
            f"(mean {point.mean:.4g}, σ {point.std:.4g}); expected false rate {point.expected_false_rate:.3g}"
        )
        if point.source and (sample is None or point.source != sample.held_out):
            yield f"- The cut comes from: {point.source}"
        if point.expected_detection is not None:
            yield f"- Detects {point.expected_detection:.3g} of {point.n_bad} bad LS"
        if point.note:
            yield f"- Note: {point.note}"
    if sample is not None and sample.held:
        yield "\n| run, not seen while learning | good LS | not judged | median score | flagged |"
        yield "|---|---:|---:|---:|---:|"
        for one in sample.held:
            flagged = (
                "" if one.flagged is None else f"{one.flagged} ({one.flagged / max(one.n - one.not_judged, 1):.1%})"
            )
            yield f"| {one.run} | {one.n} | {one.not_judged} | {one.median:.4g} | {flagged} |"
    losses = model.detector.history_.get("val_loss", [])
    if losses:
        yield f"\n- Training: {len(losses)} passes, best validation loss {min(losses):.4g}"


def _limits(model: Model) -> Iterator[str]:
    """Say what the sample, the cut and the detector leave open."""
    sample, point, made = model.sample, model.working_point, model.detector
    yield "judges this histogram with these bins, and nothing else"
    if sample is not None:
        one = len(sample.runs) == 1
        yield (
            f"knows {'one run' if one else f'{len(sample.runs)} runs'} only"
            + (
                ": how runs differ from each other it has never seen"
                if one
                else "; others may differ by more than these do"
            )
        )
        if sample.entries is not None:
            least = max(sample.entries[0], model.min_entries_per_bin * float(np.prod([a.nbins for a in model.axes])))
            told = f"LS with fewer than {least:,.0f} entries were not tried"
            yield told + (
                "" if model.min_entries_per_bin else ", and are judged all the same (no --min-entries-per-bin)"
            )
        if sample.empty:
            bins = int(np.prod([axis.nbins for axis in model.axes]))
            yield f"{sample.empty:,} of {bins:,} bins were never filled: whether they are dead cannot be seen"
        if sample.entries is not None and not sample.conditions:
            yield "nothing is known of the pile-up and luminosity of the sample: no conditions were given"
    if point is not None and point.usable:
        yield f"the cut comes from {point.n} LS: false rates below {1 / (point.n + 1):.2g} are not measured"
        worst = (
            max((one.flagged or 0) / max(one.n - one.not_judged, 1) for one in sample.held)
            if sample and sample.held
            else 0
        )
        if worst > 3 * point.expected_false_rate:
            yield f"{worst:.1%} of a good run that was kept apart is flagged: such runs exist"
        if point.expected_detection is None:
            yield "no bad LS were at hand: what share of them it finds has not been measured on this histogram"
    # Where nothing was divided out, a detector of shares sees the whole change, too.
    shape = made.input == "counts" or "normalise" in str(model.preparation)
    yield from (text for text in LIMITS.get(made.name, ()) if text != _SHAPE or shape)
    promised = [_seen(one) for one in made.sees if one.ndim == len(model.axes)]
    if promised:
        yield f"tests on simulated data hold it to {'; '.join(promised)}: smaller or fainter faults are not promised"


def _seen(one: Sees) -> str:
    where = "a shift of 10 %" if not one.size else f"{one.size} {one.fault} bin(s)"
    if one.ndim > 1:
        where = f"{one.size} × {one.size} {one.fault} bin(s)"
    return f"{where} at {one.counts:g} counts per bin"
