"""The rules about tiles: what the consumers' arithmetic makes of the sizes, halos and scales of a package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from eseg_export.compatibility.consumers import Consumer
from eseg_export.compatibility.findings import Finding, Rule, fault, limit
from eseg_export.consumer_tiles import Cut, DeclaredAxis, complaints, kept_share
from eseg_export.finished import FinishedPackage, channels, of_type
from eseg_export.tiling import LEAST_SHARE

# Ordinary, awkward, smaller than a halo, and larger than any tile.
IMAGE_SIZES: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((1024, 1024), (512, 512), (301, 411), (77, 64), (136, 2000), (3001, 2003)),
    3: ((64, 384, 400), (14, 600, 640), (32, 128, 128), (13, 301, 411), (3, 40, 50), (100, 200, 129)),
}


def halo_covers_the_margin(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find a halo smaller than the context that the network needs for tiles at any place."""
    geometry = package.geometry
    if geometry is None or len(geometry.axes) != len(package.halo):
        return
    for (name, halo), axis in zip(package.halo.items(), geometry.axes, strict=True):
        needed = axis.margin + axis.stride - 1
        if halo < needed:
            yield fault(f"the halo of {name} is {halo}; the network needs {needed} pixels: tiles would show")


def scales_are_one(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find an axis with a pixel size, where that is taken for the ratio of output and input sizes."""
    for tensor in package.tensors:
        for axis in of_type(tensor, "space"):
            if consumer.scale_is_ratio and axis.get("scale", 1) != 1:
                yield fault(
                    f"axis {axis['id']} of {tensor['id']} has the scale {axis['scale']:g}, which {consumer.name} takes"
                    " for output size / input size; the pixel size belongs into config"
                )


def tiles_come_out_right(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find sizes of images for which the consumer's arithmetic gives a wrong halo, tile or output."""
    axes = declared_axes(package)
    if consumer.cut is None or len(axes) not in consumer.dims:
        return
    for size in IMAGE_SIZES[len(axes)]:
        wrong = list(dict.fromkeys(complaints(axes, size, consumer.cut(axes, size))))
        if wrong:
            yield fault(f"of an image of {' x '.join(map(str, size))} {consumer.name} {', '.join(wrong)}")
            return


def halo_leaves_room(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find volumes of whose tiles the consumer would throw nearly everything away."""
    axes = declared_axes(package)
    if consumer.cut is None or not consumer.cuts_volumes_small or len(axes) < 3:
        return
    cuts = consumer.cut(axes, IMAGE_SIZES[3][0])
    tile, kept = (" x ".join(map(str, sides)) for sides in _tile_and_room(cuts))
    if kept_share(cuts) < LEAST_SHARE:
        yield fault(
            f"of a tile of {tile} voxels the halo leaves {kept}, {kept_share(cuts):.1%}; at least {LEAST_SHARE:.0%}"
            " must be left, or it takes days"
        )
    else:
        yield limit(f"of each tile of {tile} voxels it keeps {kept} ({kept_share(cuts):.0%}), so it is slow")


def small_images_are_refused(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the consumer enforces the stated minimum."""
    smallest = {axis["id"]: axis["size"]["min"] for axis in package.space if isinstance(axis.get("size"), dict)}
    if consumer.keeps_min and smallest and max(smallest.values()) > 1:
        sides = " x ".join(map(str, smallest.values()))
        yield limit(f"images need at least {sides} pixels ({', '.join(smallest)})")


def large_images_hang(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find how large an image may be before JDLL never returns from cutting it into tiles."""
    if consumer.most_elements is None or not any(package.halo.values()):
        return
    dims, most = len(package.space), consumer.most_elements
    side = int((most / len(channels(package.rdf["inputs"][0]) or [1])) ** (1 / dims)) - 2 * max(package.halo.values())
    shape = " x ".join([f"{side:,}"] * dims)
    yield limit(f"it hangs above {most / 1e6:.1f} million elements a tile: keep images or tiles below {shape} pixels")


def last_tiles_leave_the_grid(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the last tiles of an image start off the network's grid, unless its sides are of the right kind."""
    geometry = package.geometry
    stride = max(geometry.stride) if geometry else 1
    if consumer.centres_last_tile and stride > 1:
        yield limit(
            f"it centres its last tiles: where a side is not 0 or 1 modulo {2 * stride}, they leave the network's grid"
            " and change some labels"
        )


def borders_are_mirrored_otherwise(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the consumer mirrors without the edge pixel: the network and bioimageio.core repeat it."""
    if consumer.reflects and package.halo:
        margin = max(package.geometry.margin) if package.geometry else max(package.halo.values())
        yield limit(f"it mirrors images without their edge pixel: labels within {margin} pixels of a border may differ")


def tiles_fit_a_message(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the probabilities of one tile are more than the consumer sends at once."""
    axes = declared_axes(package)
    if consumer.cut is None or consumer.largest_message is None:
        return
    sides = [cut.tile for cut in consumer.cut(axes, IMAGE_SIZES[len(axes)][0])]
    size = 4 * len(channels(package.rdf["outputs"][0])) * prod(sides)
    if size > consumer.largest_message:
        shape, most = " x ".join(map(str, sides)), consumer.largest_message / 1e6
        yield limit(f"a tile of {shape} returns {size / 1e6:.0f} MB, and a message holds {most:.0f} MB")


def declared_axes(package: FinishedPackage) -> list[DeclaredAxis]:
    """Return what the package says of each spatial axis, in their order."""
    returned = {axis["id"]: axis for axis in of_type(package.rdf["outputs"][0], "space")}
    return [
        DeclaredAxis(
            min=axis["size"]["min"],
            step=axis["size"]["step"],
            halo=returned[axis["id"]].get("halo", 0),
            scale=returned[axis["id"]].get("scale", 1),
        )
        for axis in package.space
    ]


def _tile_and_room(cuts: Sequence[Cut]) -> tuple[list[int], list[int]]:
    return [cut.tile for cut in cuts], [cut.tile - 2 * cut.halo for cut in cuts]


TILE_RULES: tuple[Rule, ...] = (
    halo_covers_the_margin, scales_are_one, tiles_come_out_right, halo_leaves_room, small_images_are_refused,
    large_images_hang, last_tiles_leave_the_grid, borders_are_mirrored_otherwise, tiles_fit_a_message,
)  # fmt: skip
