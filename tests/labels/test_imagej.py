"""ROIs written by ImageJ 1.54u7 and by roifile, with the pixels that ImageJ fills."""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from painting import drawn, options, pixels_of, values_of, written
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from eseg_zoo.errors import InputError
from eseg_zoo.labels import imagej

# Files of ImageJ's RoiEncoder (deflated, base64), and the pixels that its masks or `drawPixels` give, 12 x 9.
BY_IMAGEJ = {
    "composite": (
        "eNqNkM0JAjEQhd/qSfGwJdiAIDaw2aNlKHjzBxa9p5TUYAUpJRfvdqCTZMJOhhWcMPCRl8fLzP72uOPVAA2dBVaYrvMHw1Pdzcn0jmBi"
        "W6CzzGC2irlj9Vtil7XE7O/XitnfQ7FhbhW7MSPlBZHvmV3NnZ3uohnNxWsUB5HtRbb/nS096f9BzOLFvJKlx+S3STNZL7uruB09dc1o"
        "+1ji37rgRH3EgAOuxBvsviMuT/g=",
        "............ .####....... .#..#...##.. .#..#....#.. .####....##. ....#....... ...#.#..#... ............ "
        "..........##",
    ),
    "traced": (
        "eNrzzC8tYXjKwcDAxMDBwMrADSSxgv///2MTTgDqYwZCRiAEASYwRBbBBAuAmBPCZGYgCAzA0IRBF0wbMhgAAN1JCIQ=",
        "............ ............ ........##.. .........#.. .........##. ............ ............ ............ "
        "............",
    ),
    "ovals": (
        "eNrzzC8tYXjKyMDACIQcDNwM2EESdmHGEyDSEYgdgNi+Acp2gLIF0NgHoGwFNPYCKNsAje2ApAaZDbKjAeICmDgIg9gwdzgwoLHR1MHZ"
        "B5DUILMfIJmJxHaEmfkAlQ1T48iAxoaZuQCNDfWnQwMa2wFJDTIb2S4kNkwfLEKAmAmImRlIBAAjyUM6",
        "............ ...####..... ..###...##.. .###.....##. .###.....##. .####....#.. ..######.... ...####..... "
        "............",
    ),
    "rounded": (
        "eNrzzC8tYXjKyMDACIQcDFwMxAE2KO3AQCEAAFe/AuI=",
        "............ ..#######... .#########.. .#########.. .#########.. .#########.. .#########.. ..#######... "
        "............",
    ),
    "ellipse": (
        "eNqlkn8s1HEYxz/nuPPjbuRHjIzuj1ajtVEboef9aSWqtUZrs7QV/WFWuZC2mOGS6QfmD7GYmCw/1m25qKlmfq5kRCZkmGh1pdyyU4q+"
        "d06d/Nn79cdnn+35PM/7+TxPeMLFZDYtZUwkYM1sWRi1MAbGGPcWzgn2r8Qsg/5e7jAbE9YmpEYkAlZGLI2IBSxMiP5gLpEZK3FiIyvv"
        "DZkkRlbyr1azWYdkTZw5EjOs1rizNNVa71DE1mu901Wv5m5Njg2/yD2Xs7lHejJ3y1RzF3sp37Ddn8umOrh10EYuDg7C4uQovnYxTIdk"
        "Y/jEDHoCw9HyOQKafD3uBR5Bqeg0CoRpXDl8ExcW6xAd2YID3Tew87oDFE09cExOh3higGb9YunNOQvqvK2lR5NDpI7KolqXDKrxdqb6"
        "VA/SeNsZpkt94iF6JztJi7pc2LVNw+OQP3yVWpBTNSLtXRAXfBDpiSJca01FUZU7KjuboHa8j2alDbo6H2BgqdywGdA2JEFv4cOZ1oFL"
        "5J7cdiyY20fIuVPMJHeVdnP3QA3fpDvFvXxV3FvoV+HcxxVPj3LF6BJXKMv45tRlY57p8lB8vNWM2XE1dOe7Mb/HC/owfyzkyrGwFIKF"
        "6jHoVcWYL7oL3VQHvih3Q7v3GWZikzAxOoyRxod4LeR52d6LDqcAPPkRCE1uCepePUelEF/S9w0FdWLkqDqQNuKJ+DkfRCWUIOySCgHb"
        "9Nha/RjuMgvIUsIMm08fst7TYIUztWfup8Z9g1QnVVHluD+Vjb6gUqmcys7kUcVcJdXcPUsapZZayZX6521oJtGPfhaUwrawCG6Cny0p"
        "Mdg1XIBQuzwc/9SLuOgEXA5IwdUdMuQf+4XitCBUFOpQmxOPBqHf5nZCm9YK3fVV6P++jOH2t+w/9RstJwQI",
        "............ ..###....... .######..... .########... ..#######... ...#######.. ....######.. ......###... "
        "............",
    ),
    "freeline": (
        "eNrzzC8tYXjKwsDACIQcDNwMQCYJIACImRk4GZiANBtQLyMDhQAAk/sDDQ==",
        "............ .#.......... ..###....... ..#..##..... ...#...##... ...#.....##. ....#.###... ....##...... "
        "............",
    ),
    "points": (
        "eNrzzC8tYXjKxcDAxMDIwMHAycDMgA4Y0fgNSOwUMMkOVsVqv9nY2P4AA4MjkOsAwj5nzjpcYCAHLMElAQBgiApL",
        "............ ............ .#.......... ..#......... ............ ............ ............ ........#... "
        "............",
    ),
}  # fmt: skip
# A multi-point with points of two counters on slices 2 and 4.
COUNTERS = "eNrzzC8tYXjKxcDAwsDMwM7AxsDEgA4Y0fgNIOL/////gFQEEIN0MDk4MDA4LABioKzDAQZywAxULhPQXhYmAJnLC0A="


def stored(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def roi(kind: ROI_TYPE, points: Any = None, **more: Any) -> ImagejRoi:
    """A ROI with integer or float points (x, y), as roifile makes it."""
    made = ImagejRoi.frompoints(np.array(points)) if points is not None else ImagejRoi()
    made.roitype, made.name = kind, ""
    for name, value in more.items():
        setattr(made, name, value)
    return made


def rectangle(left: int, top: int, width: int, height: int, **more: Any) -> ImagejRoi:
    return roi(ROI_TYPE.RECT, left=left, top=top, right=left + width, bottom=top + height, **more)


def painted_in(path: Path, one: ImagejRoi, shape: tuple[int, int] = (8, 8)) -> NDArray[np.bool_]:
    painted = imagej.read(written(path / "a.roi", one.tobytes()), options(*shape))
    return values_of(painted, (1, 1, *shape))[0, 0] > 0


def zipped(path: Path, **rois: ImagejRoi) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, one in rois.items():
            file.writestr(f"{name}.roi", one.tobytes())
    return path


@pytest.mark.parametrize("name", BY_IMAGEJ)
def test_files_of_imagej_take_the_pixels_that_imagej_fills(tmp_path: Path, name: str) -> None:
    content, expected = BY_IMAGEJ[name]
    path = written(tmp_path / "a.roi", stored(content))
    assert imagej.knows(path)
    found = values_of(imagej.read(path, options(3, 3, 9, 12)), (3, 3, 9, 12)).max(axis=(0, 1))
    np.testing.assert_array_equal(found > 0, drawn(expected))


def test_name_group_colour_and_plane_are_those_that_imagej_wrote(tmp_path: Path) -> None:
    composite = imagej.read(written(tmp_path / "a.roi", stored(BY_IMAGEJ["composite"][0])), options(3, 9, 12))
    assert [(one.name, one.colour) for one in composite.classes] == [("membrane", "#0072b2")]
    assert {block.origin[:2] for block in composite.blocks} == {(0, 2)}
    traced = imagej.read(written(tmp_path / "a.roi", stored(BY_IMAGEJ["traced"][0])), options(9, 12))
    assert [one.name for one in traced.classes] == ["group 3"]  # its name, 0004-0010, is the ROI Manager's
    ovals = imagej.read(written(tmp_path / "a.roi", stored(BY_IMAGEJ["ovals"][0])), options(3, 2, 9, 12))
    assert {block.origin[:2] for block in ovals.blocks} == {(2, 1)}


def test_points_with_counters_have_a_class_and_a_slice_each(tmp_path: Path) -> None:
    painted = imagej.read(written(tmp_path / "a.roi", stored(COUNTERS)), options(4, 9, 12))
    assert pixels_of(painted, (1, 4, 9, 12)) == {"counter 1": {(0, 1, 4, 3)}, "counter 2": {(0, 3, 6, 5)}}


def test_masks_that_became_composites_come_back(tmp_path: Path) -> None:
    """Squares around each pixel, as ImageJ's selections of thresholded masks have them."""
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    path = [
        number
        for y, x in np.argwhere(mask).tolist()
        for number in (0, x, y, 1, x + 1, y, 1, x + 1, y + 1, 1, x, y + 1, 4)
    ]
    one = rectangle(0, 0, 30, 20, multi_coordinates=np.array(path, np.float32), shape_roi_size=len(path))
    np.testing.assert_array_equal(painted_in(tmp_path, one, (20, 30)), mask)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (rectangle(1, 2, 3, 1), "..... ..... .###. ..... ....."),
        (roi(ROI_TYPE.OVAL, left=0, top=0, right=5, bottom=5), ".###. ##### ##### ##### .###."),
        (roi(ROI_TYPE.LINE, x1=0.4, y1=0.6, x2=4, y2=3), "..... #.... .##.. ...## ....."),
        (roi(ROI_TYPE.POLYLINE, [[0, 0], [4, 0], [4, 4]]), "##### ....# ....# ....# ....#"),
        (roi(ROI_TYPE.FREELINE, [[1, 2], [3, 2]], float_stroke_width=3.0), "..... ##### ##### ##### ....."),
        (roi(ROI_TYPE.POLYGON, [[1, 1], [4, 1], [4, 4], [1, 4]]), "..... .###. .###. .###. ....."),
        (roi(ROI_TYPE.POLYGON, [[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]]), "..... .##.. .##.. ..... ....."),
        (roi(ROI_TYPE.POINT, [[1, 2], [3, 4]]), "..... ..... .#... ..... ...#."),
        (roi(ROI_TYPE.POINT, [[1.6, 2.4]]), "..... ..... ..#.. ..... ....."),
    ],
    ids=["rectangle", "oval", "line", "polyline", "freeline", "polygon", "on centres", "points", "between"],
)  # fmt: skip
def test_each_kind_of_roi(tmp_path: Path, one: ImagejRoi, expected: str) -> None:
    np.testing.assert_array_equal(painted_in(tmp_path, one, (5, 5)), drawn(expected))


@pytest.mark.parametrize(
    ("name", "group", "expected"),
    [
        ("membrane", 0, "membrane"), ("membrane-1", 2, "membrane"), ("membrane_12", 0, "membrane"),
        ("mito 2", 0, "mito 2"), ("0001-0123-0456", 2, "group 2"), ("0123-0456", 0, "strokes"),
        ("0123-0456-1", 0, "strokes"), ("00012-00123-00456-glia-2", 0, "glia"), ("17", 0, "strokes"),
        ("", 3, "group 3"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", 0, "strokes"),
    ],
)  # fmt: skip
def test_the_class_is_the_name_or_the_group_or_the_files(tmp_path: Path, name: str, group: int, expected: str) -> None:
    path = written(tmp_path / "strokes.roi", rectangle(1, 1, 2, 2, name=name, group=group).tobytes())
    if name:
        assert [one.name for one in imagej.read(path, options(8, 8)).classes] == [expected]
    path = zipped(tmp_path / "strokes.zip", **{name or "0001": rectangle(1, 1, 2, 2, name="", group=group)})
    assert [one.name for one in imagej.read(path, options(8, 8)).classes] == [expected]
    named = imagej.read(path, options(8, 8, class_name="synapse")).classes[0].name
    assert named == ("synapse" if expected == "strokes" else expected)


def test_a_file_of_one_roi_without_a_name_has_the_class_of_the_options_or_its_own_name(tmp_path: Path) -> None:
    path = written(tmp_path / "membrane-1.roi", rectangle(1, 1, 2, 2).tobytes())
    assert [one.name for one in imagej.read(path, options(8, 8)).classes] == ["membrane"]
    assert [one.name for one in imagej.read(path, options(8, 8, class_name="glia")).classes] == ["glia"]


@pytest.mark.parametrize(
    ("one", "planes"),
    [
        (rectangle(0, 0, 1, 1, c_position=2, z_position=3, t_position=2), {(1, 2)}),
        (rectangle(0, 0, 1, 1, position=5), {(1, 1)}),
        (rectangle(0, 0, 1, 1, name="0002-0000-0000"), {(0, 1)}),
        (rectangle(0, 0, 1, 1, z_position=2), {(0, 1), (1, 1)}),
        (rectangle(0, 0, 1, 1), {(t, z) for t in range(2) for z in range(3)}),
        (rectangle(0, 0, 1, 1, position=7), set()),
    ],
    ids=["hyperstack", "stack", "name", "slice", "none", "outside"],
)
def test_the_plane_of_a_roi(tmp_path: Path, one: ImagejRoi, planes: set[tuple[int, int]]) -> None:
    painted = imagej.read(written(tmp_path / "a.roi", one.tobytes()), options(2, 3, 4, 4))
    assert {block.origin[:2] for block in painted.blocks} == planes
    notes = {0: "1 of 1 ROI outside the image: not painted there", 6: "1 ROI without a slice: painted in all 3 slices"}
    assert notes.get(len(planes), "") in " ".join(painted.notes)


def test_a_set_of_the_roi_manager_is_read_in_order_without_unpacking(tmp_path: Path) -> None:
    rois = {"membrane": rectangle(0, 0, 4, 4, name="membrane"), "glia": rectangle(2, 2, 4, 4, name="glia")}
    path = zipped(tmp_path / "RoiSet.zip", **rois)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../../outside.roi", rectangle(7, 7, 1, 1).tobytes())
        file.writestr("__MACOSX/._glia.roi", b"other")
        file.writestr("readme.txt", b"other")
    assert imagej.knows(path)
    painted = imagej.read(path, options(8, 8))
    assert {name: len(places) for name, places in pixels_of(painted, (1, 1, 8, 8)).items()} == {
        "membrane": 12, "glia": 16, "outside": 1,
    }  # fmt: skip
    assert painted.notes == ("4 pixels in ROIs of several classes; the later one counts",)
    assert [one.name for one in tmp_path.iterdir()] == ["RoiSet.zip"]


def test_overlays_of_a_tiff_are_read_with_the_planes_of_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    overlays = [
        rectangle(1, 1, 2, 2, name="glia", position=4).tobytes(),
        rectangle(4, 4, 1, 1, name="glia-1", position=1).tobytes(),
    ]
    tifffile.imwrite(
        path, np.zeros((3, 2, 8, 8), np.uint8), imagej=True, metadata={"axes": "ZCYX", "Overlays": overlays}
    )
    assert imagej.knows(path)
    assert pixels_of(imagej.read(path, options(3, 8, 8)), (1, 3, 8, 8)) == {
        "glia": {(0, 1, y, x) for y in (1, 2) for x in (1, 2)} | {(0, 0, 4, 4)}
    }


def test_a_selection_left_in_a_tiff_makes_it_no_file_of_rois(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), imagej=True, metadata={"ROI": rectangle(1, 1, 2, 2).tobytes()})
    assert not imagej.knows(path)
    assert len(pixels_of(imagej.read(path, options(8, 8)), (1, 1, 8, 8))["a"]) == 4


def test_what_is_no_label_is_told(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip",
        angle=roi(ROI_TYPE.ANGLE, [[0, 0], [1, 1], [2, 0]]),
        arrow=roi(ROI_TYPE.LINE, x2=4.0, subtype=ROI_SUBTYPE.ARROW),
        text=rectangle(0, 0, 4, 4, subtype=ROI_SUBTYPE.TEXT, text="a", text_name="SansSerif"),
        other=rectangle(0, 0, 4, 4, subtype=ROI_SUBTYPE.TEXT, text="b", text_name="SansSerif"),
        spline=roi(ROI_TYPE.POLYGON, [[0, 0], [4, 0], [4, 4]], options=ROI_OPTIONS.SPLINE_FIT),
    )
    painted = imagej.read(path, options(8, 8))
    assert [one.name for one in painted.classes] == ["spline"]
    assert painted.notes == (
        "1 ROI with a spline: painted with straight lines between its points", "1 angle: not painted",
        "1 arrow: not painted", "2 texts: not painted",
    )  # fmt: skip


def bomb(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.roi", b"Iout" + bytes(1 << 26))
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: bomb(path), "'a.roi' is too large for a ROI"),
        (lambda path: written(path, b"Iout" + bytes(20)), "ROI 1 ('a'): it is damaged"),
        (lambda path: written(path, rectangle(1, 1, 2, 2).tobytes()[:40]), "ROI 1 ('a'): it is damaged"),
        (lambda path: written(path, roi(ROI_TYPE.POINT, [[0, np.nan]]).tobytes()), "the coordinate nan"),
        (lambda path: written(path, roi(ROI_TYPE.LINE, x1=np.inf).tobytes()), "the coordinate inf"),
        (lambda path: zipped(path, a=rectangle(0, 0, 1, 1, name="a\nb")), "ROI 1 ('a'): the class name"),
        (lambda path: written(path, b"x,y\n1,2\n"), "is no file of ImageJ ROIs"),
        (lambda path: written(path, b"PK\3\4" + bytes(50)), "is not a readable ZIP file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(tmp_path: Path, make: Any, words: str) -> None:
    with np.errstate(invalid="ignore"):
        path = make(tmp_path / "a.x")
    with pytest.raises(InputError) as caught:
        imagej.read(path, options(8, 8))
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


def test_other_files_are_not_known(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("data.pkl", b"x")
    plain = io.BytesIO()
    tifffile.imwrite(plain, np.zeros((4, 4), np.uint8))
    files = [tmp_path, tmp_path / "missing.roi", tmp_path / "a.zip"]
    for number, content in enumerate((b"", b"Iou", b"PK\3\4", b"II*\0", plain.getvalue())):
        files.append(written(tmp_path / f"{number}.roi", content))
    assert not any(imagej.knows(path) for path in files)
