"""What each consumer of a package accepts, as data in one module.

The rows hold what was read in the consumers' source or seen when they ran, with the version that was looked at; the
rules in `rules.py` read them. When a consumer changes, its row changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from eseg_export.consumer_tiles import Cutting, cut_by_ilastik, cut_by_jdll, cut_by_qupath


@dataclass(frozen=True)
class Consumer:
    """What one consumer accepts; the defaults ask for nothing."""

    name: str
    version: str  # that was looked at
    source: str  # how it is known
    formats: tuple[str, ...]  # of weights, that it can run
    plain_texts: bool = False  # documentation and covers must be strings, not maps with a sha256
    required: tuple[str, ...] = ()  # fields without which it does not read the description
    one_tensor: bool = False  # one input and one output
    dims: tuple[int, ...] = (2, 3)
    axis_ids: tuple[str, ...] | None = None  # None: any
    one_axis_order: bool = False  # the output has the axes of the input, in the same order, with a channel axis
    identifiers: bool = False  # channel names must be valid in Python code and unlike each other
    operations: tuple[str, ...] | None = None  # pre- and postprocessing that it applies; None: all of the format's
    newest_opset: int | None = None
    newest_ir: int | None = None
    explicit_offset: bool = False  # size references must state their offset
    keeps_min: bool = False  # refuses images smaller than the stated minimum
    most_elements: int | None = None  # of an image with its halo, beyond which it hangs
    cut: Cutting | None = None  # how it cuts images into tiles
    cuts_volumes_small: bool = False  # into tiles as small as the package allows, so that the halo may be all of them
    centres_last_tile: bool = False  # of a row on what is left; the others move it back to the image's end
    reflects: bool = False  # beyond the image, without repeating the pixel at its edge
    scale_is_ratio: bool = False  # takes an axis's scale for output size / input size
    asks_github: bool = False  # whether the `github_user` of authors and maintainers exist, when it loads the package
    largest_message: int | None = None  # bytes
    drops_halo: bool = False
    asks_pixel_size: bool = False  # resamples to a pixel size, which the person has to give
    sample_images: bool = False  # shows TIFFs for a first try
    largest_difference: float | None = None  # of a probability between weights formats
    ranks_gpus: bool = False  # by the default tolerance, whatever the package declares


# Unknown ones are skipped by QuPath with a line in its log, so its numbers would silently be others, and an error in
# JDLL. Both skip `ensure_dtype`, which changes nothing: they hand over float32 anyway.
_JDLL_OPERATIONS = ("ensure_dtype", "binarize", "clip", "scale_linear", "scale_range", "sigmoid",
                    "zero_mean_unit_variance", "fixed_zero_mean_unit_variance")  # fmt: skip
_QUPATH_OPERATIONS = ("ensure_dtype", "binarize", "clip", "scale_linear", "scale_range", "sigmoid",
                      "zero_mean_unit_variance")  # fmt: skip

CONSUMERS = (
    Consumer(
        name="ilastik",
        version="tiktorch 26.5.0 with bioimageio.spec 0.5.9.1 and torch 2.7",
        source="run: 1.4.2 with a window and without, on 2D and 3D packages",
        formats=("torchscript", "pytorch_state_dict"),
        plain_texts=True,
        axis_ids=("batch", "channel", "time", "z", "y", "x"),
        one_axis_order=True,
        identifiers=True,
        cut=cut_by_ilastik,
        cuts_volumes_small=True,
        centres_last_tile=True,
        reflects=True,
        asks_github=True,
        largest_message=100_000_000,
    ),
    Consumer(
        name="deepImageJ",
        version="3.1 with JDLL 0.6: libtorch 1.13.1 or 2.0, ONNX Runtime 1.12.1 for opset 17",
        source="its parser, its tiling and its engines were run outside of it",
        formats=("onnx", "torchscript"),  # whichever its map yields first: both must be right
        plain_texts=True,
        required=("id",),
        one_tensor=True,
        operations=_JDLL_OPERATIONS,
        newest_opset=17,
        newest_ir=8,
        explicit_offset=True,
        cut=cut_by_jdll,
        scale_is_ratio=True,
        most_elements=4096 * 4096 * 3,  # OPTIMAL_MAX_NUMBER_PIXELS in its TileFactory
        sample_images=True,
    ),
    Consumer(
        name="QuPath",
        version="extension 0.2 with qupath-bioimageio-spec 0.2.1, DJL 0.36 and libtorch 2.5 to 2.7",
        source="read in its source, never run",
        formats=("torchscript",),
        plain_texts=True,
        required=("description", "documentation", "name", "authors", "license"),
        one_tensor=True,
        dims=(2,),
        operations=_QUPATH_OPERATIONS,
        cut=cut_by_qupath,
        drops_halo=True,
        asks_pixel_size=True,
    ),
    Consumer(
        name="bioimageio.core",
        version="0.11.0 with bioimageio.spec 0.5.12",
        source="run on every package by this exporter",
        formats=("pytorch_state_dict", "torchscript", "onnx"),
        keeps_min=True,
    ),
    Consumer(
        name="the zoo's test runner",
        version="bioimageio.core 0.10.4 with torch 2.5.1 and ONNX Runtime 1.20.1",
        source="its libraries were tried",
        formats=("pytorch_state_dict", "torchscript", "onnx"),
        plain_texts=True,
        newest_opset=21,
        newest_ir=10,
        ranks_gpus=True,
        largest_difference=1e-3,  # the web uploader drops `config.bioimageio`, so no other tolerance can be stated
    ),
)
