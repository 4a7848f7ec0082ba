"""What a GPU makes of the probabilities: its convolutions round their numbers, which the zoo's tests must allow for.

The zoo ranks models by whether they reproduce on a GPU. cuDNN's convolutions take TF32 by default: inputs and weights
keep 10 bits of their mantissa instead of 23, and sums are float32. bfloat16 (autocast) keeps 7. Both are emulated here
on the CPU, so that the tolerance in the package is measured and not guessed. A real GPU sums in another order too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

TF32, BFLOAT16 = 10, 7  # bits of the mantissa that are kept
_MANTISSA = 23  # of float32
_CONVOLUTIONS = (F.conv2d, F.conv3d)


@dataclass(frozen=True)
class Tolerance:
    """What the zoo's test forgives: so many values per million may differ by more than both tolerances together."""

    relative_tolerance: float
    absolute_tolerance: float
    mismatched_elements_per_million: int


# The first is the zoo's default, which is all that counts after an upload in the browser: it drops what is declared.
# The others are within what the zoo allows: 0.01, 1 % of the largest probability, 5,000 per million.
DEFAULT = Tolerance(1e-3, 1e-3, 100)
TOLERANCES = (
    DEFAULT,
    Tolerance(1e-2, 1e-3, 100),
    Tolerance(1e-2, 5e-3, 100),
    Tolerance(1e-2, 1e-2, 100),
    Tolerance(1e-2, 1e-2, 1000),
    Tolerance(1e-2, 1e-2, 5000),
)
# A GPU sums in another order than the emulation, so half of what is forgiven is kept in reserve.
RESERVE = 2


@dataclass(frozen=True)
class Reproducibility:
    """What the emulated rounding does to the test output, and the tolerance that follows from it."""

    tf32: float  # values per million beyond the default tolerance
    bfloat16: float
    declared: Tolerance
    tf32_declared: float  # values per million beyond the declared tolerance
    bfloat16_declared: float

    @property
    def default_holds(self) -> bool:
        """Whether the zoo's default tolerance forgives TF32, so that nothing has to be declared."""
        return self.tf32 <= DEFAULT.mismatched_elements_per_million

    @property
    def tf32_holds(self) -> bool:
        """Whether the declared tolerance forgives TF32."""
        return self.tf32_declared <= self.declared.mismatched_elements_per_million

    @property
    def bfloat16_holds(self) -> bool:
        """Whether the declared tolerance forgives bfloat16."""
        return self.bfloat16_declared <= self.declared.mismatched_elements_per_million

    def figures(self) -> dict[str, Any]:
        """Return the numbers as plain YAML values."""
        return {
            "emulated": "convolutions whose inputs and weights are rounded to TF32 (10 bits) and bfloat16 (7 bits)",
            "default_tolerance": asdict(DEFAULT),
            "declared_tolerance": asdict(self.declared),
            "mismatched_per_million": {
                "tf32": {"default": round(self.tf32, 1), "declared": round(self.tf32_declared, 1)},
                "bfloat16": {"default": round(self.bfloat16, 1), "declared": round(self.bfloat16_declared, 1)},
            },
        }


class RoundedConvolutions(TorchFunctionMode):
    """Within it, convolutions round their input and their weights to so many bits of the mantissa."""

    def __init__(self, bits: int):
        super().__init__()
        self.bits = bits

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        if function in _CONVOLUTIONS:
            image, weights, *rest = arguments
            arguments = (rounded(image, self.bits), rounded(weights, self.bits), *rest)
        return function(*arguments, **(named or {}))


def rounded(x: Tensor, bits: int) -> Tensor:
    """Return float32 numbers rounded to `bits` bits of their mantissa, ties to even."""
    dropped = _MANTISSA - bits
    whole = x.contiguous().view(torch.int32)
    last = (whole >> dropped) & 1
    up = whole + (1 << (dropped - 1)) - 1 + last
    return (up >> dropped << dropped).view(torch.float32)


def per_million(found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: Tolerance) -> float:
    """Return how many values per million differ by more than the tolerance, counted as bioimageio.core does."""
    allowed = tolerance.absolute_tolerance + tolerance.relative_tolerance * np.abs(expected)
    return float((np.abs(found - expected) > allowed).mean()) * 1e6


def in_precision(network: nn.Module, image: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Return what the network makes of the image when its convolutions keep so many bits."""
    with torch.inference_mode(), RoundedConvolutions(bits):
        probabilities: NDArray[np.float32] = network(torch.from_numpy(image)).numpy()
    return probabilities


def reproducibility(network: nn.Module, image: NDArray[np.float32], expected: NDArray[np.float32]) -> Reproducibility:
    """Measure what a GPU may do to `expected`, the network's output for `image`, and choose the tolerance for it.

    It is the first of `TOLERANCES` that forgives TF32 with a reserve, or else the last.
    """
    tf32, bfloat16 = (in_precision(network, image, bits) for bits in (TF32, BFLOAT16))
    enough = [
        tolerance
        for tolerance in TOLERANCES
        if RESERVE * per_million(tf32, expected, tolerance) <= tolerance.mismatched_elements_per_million
    ]
    declared = enough[0] if enough else TOLERANCES[-1]
    return Reproducibility(
        tf32=per_million(tf32, expected, DEFAULT),
        bfloat16=per_million(bfloat16, expected, DEFAULT),
        declared=declared,
        tf32_declared=per_million(tf32, expected, declared),
        bfloat16_declared=per_million(bfloat16, expected, declared),
    )
