"""How good the model is and how exactly its package reproduces it, in words and tables for the README."""

from __future__ import annotations

from collections.abc import Sequence

from eseg_export.evaluation import Evaluation
from eseg_export.markdown import cell, table
from eseg_export.precision import DEFAULT, Reproducibility, Tolerance
from eseg_export.verify import Measurement
from eseg_zoo.checkpoint import Checkpoint

_FORMAT_NAMES = {"pytorch_state_dict": "PyTorch state dict", "torchscript": "TorchScript", "onnx": "ONNX"}
_HELD_OUT = (
    "Dice on held-out strokes, labelled pixels that the model did not learn from. They chose its best weights and"
    " calibrated it, and their classes are about as frequent as people labelled them, not as they are in the images."
    " So take it as a hint: on whole images Dice may be much lower."
)


def validation_section(checkpoint: Checkpoint, evaluation: Evaluation | None) -> str:
    """Return how good the model is: first an evaluation, where there is one, then the labels held out in training."""
    held_out = validation_table(checkpoint)
    if evaluation is None:
        return f"{_HELD_OUT}\n\n{held_out}" if "mean_dice" in checkpoint.training.validation else held_out
    rows = [(cell(name), _score(evaluation.dice[name]), f"{n:,}") for name, n in evaluation.pixels.items()]
    rows.append(("**mean**", f"**{_score(evaluation.mean_dice)}**", f"{evaluation.total:,}"))
    shown = table(("class", "Dice", "labelled pixels"), rows)
    return (
        f"Dice over the {evaluation.total:,} labelled pixels of the images that `eseg evaluate` was given. Whether the"
        f" model had learned from these images, whoever chose them knows:\n\n{shown}\n\n{_HELD_OUT}\n\n{held_out}"
    )


def validation_table(checkpoint: Checkpoint) -> str:
    """Return the held-out Dice per class as a Markdown table, or a sentence when nothing was held out."""
    training = checkpoint.training
    if "mean_dice" not in training.validation:
        return "The model was trained without held-out labels: its quality was not measured."
    rows = [
        (cell(name), _score(training.validation.get(f"dice/{name}")), f"{training.validation_pixels.get(name, 0):,}")
        for name in checkpoint.class_names
    ]
    total = f"{sum(training.validation_pixels.values()):,}"
    rows.append(("**mean**", f"**{_score(training.validation['mean_dice'])}**", total))
    return table(("class", "Dice", "held-out labelled pixels"), rows)


def rounding_told(found: Reproducibility) -> str:
    """Return what rounding on a GPU does to the test output, and what the package declares for it."""
    default, declared = DEFAULT, found.declared
    beyond = f"{found.tf32:,.0f} values per million of the test output beyond the zoo's default tolerance"
    text = (
        "GPUs round the numbers that convolutions multiply. Emulated on the CPU, TF32 (10 bits of the mantissa) moves"
        f" {beyond} ({_tolerance(default)}; {default.mismatched_elements_per_million} are allowed)"
    )
    if declared == default:
        text += ": it holds."
    else:
        held = "holds, narrowly" if found.default_holds else "does not hold, whichever crop of the sample is the test"
        text += (
            f": it {held}. So the package declares {_tolerance(declared)}, of which"
            f" {declared.mismatched_elements_per_million} per million may be beyond: TF32 moves"
            f" {found.tf32_declared:,.0f}. An upload in the browser drops what is declared."
        )
    verdict = "within" if found.bfloat16_holds else "more than"
    also = "" if declared == default else f" and {found.bfloat16_declared:,.0f} beyond the declared one"
    return (
        f"{text} bfloat16 (7 bits) moves {found.bfloat16:,.0f} beyond the default tolerance{also}: {verdict} what is"
        " allowed."
    )


def differences_table(measured: Sequence[Measurement]) -> str:
    """Return how far each weights format is from the checkpoint, as a Markdown table."""
    rows = [(_FORMAT_NAMES[m.weights_format], f"{m.difference:.1e}") for m in measured]
    return table(("weights", "largest difference"), rows)


def _tolerance(tolerance: Tolerance) -> str:
    return f"{tolerance.absolute_tolerance:g} and {100 * tolerance.relative_tolerance:g} % of the value"


def _score(dice: float | None) -> str:
    return "not measured" if dice is None or dice != dice else f"{dice:.3f}"  # NaN: neither labelled nor predicted
