"""Axes that a file states are believed; those that it does not state come from a person or from training."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from eseg_zoo.errors import InputError
from eseg_zoo.images import open_image
from eseg_zoo.images.axes import check_axes, pixel_type, resolve_axes

SIZES = {"t": 6, "c": 2, "z": 3, "y": 4, "x": 5, "s": 3, "?": 7}


def resolved(said: str, *, sure: bool = True, axes: str | None = None, usual: str | None = None) -> str:
    shape = tuple(SIZES[a] for a in said)
    return resolve_axes("f", shape, said=said, sure=sure, axes=axes, usual_axes=usual)


def refused(said: str, *, sure: bool = True, axes: str | None = None, usual: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        resolved(said, sure=sure, axes=axes, usual=usual)
    return str(caught.value)


@pytest.mark.parametrize("axes", [*map("".join, itertools.permutations("czyx")), "yx", "xy", "tyx", "xyzct"])
def test_axes_in_any_order_give_the_same_pixel(axes: str) -> None:
    array = np.random.default_rng(0).integers(0, 999, [SIZES[a] for a in axes]).astype(np.uint16)
    image = open_image(array, axes=axes)
    found = image.read()
    assert found.shape == tuple(SIZES[a] if a in axes else 1 for a in "tczyx")
    assert found.dtype == np.uint16
    for place in np.ndindex(array.shape):
        there = dict(zip(axes, place, strict=True))
        assert found[tuple(there.get(a, 0) for a in "tczyx")] == array[place]


@pytest.mark.parametrize("axes", ["zzyx", "wyx", "zyxs", "ij", "zx", ""])
def test_letters_that_are_not_axes_are_refused(axes: str) -> None:
    with pytest.raises(InputError, match=r"axes is '\w*'; it must "):
        check_axes(axes)


def test_large_letters_are_the_same_axes() -> None:
    assert check_axes("ZYX") == "zyx"


@pytest.mark.parametrize("said", ["zyx", "tyx", "cyx", "zcyx", "yxz", "tczyx", "xy"])
@pytest.mark.parametrize("usual", [None, "zyx", "cyx", "yx", "tzyx"])
def test_what_the_file_states_stands_whatever_training_had(said: str, usual: str | None) -> None:
    assert resolved(said, usual=usual) == said
    assert resolved(said, axes=said, usual=usual) == said


@pytest.mark.parametrize(
    ("said", "axes"),
    [("zyx", "xyz"), ("czyx", "zcyx"), ("zyx", "cyx"), ("tyx", "cyx"), ("tzyx", "ztyx"), ("yxz", "zyx")],
)
def test_axes_that_contradict_the_file_are_refused_with_both(said: str, axes: str) -> None:
    told = refused(said, axes=axes)
    assert axes in told
    assert said.upper() in told


@pytest.mark.parametrize(
    ("said", "axes", "what"),
    [
        ("tyx", "zyx", "time points"),
        ("zyx", "tyx", "slices"),
        ("cyx", "zyx", "channels"),
        ("tcyx", "zcyx", "time points"),
        ("cyxs", "zyxc", "channels"),  # a stack of colour slices, as ImageJ may say it
    ],
)
def test_a_person_may_call_time_or_channels_slices_and_is_told(
    said: str, axes: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert resolved(said, axes=axes) == axes
    assert [r.getMessage() for r in caplog.records] == [
        f"f says that it has {what} (axes {said}); it is read as {axes}"
    ]


def test_axes_that_agree_are_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    resolved("zcyx", axes="zcyx")
    resolved("???", sure=False, axes="xyz")
    assert not caplog.records


def test_axes_of_length_one_may_be_left_out() -> None:
    found = resolve_axes("f", (1, 4, 6, 5, 1), said="tzyxc", sure=True, axes="zyx", usual_axes=None)
    assert found == "tzyxc"


@pytest.mark.parametrize(
    ("shape", "usual", "found"),
    [
        ((4, 6, 5), "zyx", "zyx"),
        ((6, 5), "zyx", "yx"),  # one plane for a model of stacks
        ((6, 5), "tzyx", "yx"),
        ((4, 6, 5), "tzyx", "zyx"),
        ((4, 6, 5), "zcyx", "cyx"),
    ],
)
def test_leading_time_and_depth_of_training_may_lack(shape: tuple[int, ...], usual: str, found: str) -> None:
    assert open_image(np.zeros(shape, np.uint8), usual_axes=usual).axes == found


@pytest.mark.parametrize(
    ("shape", "usual"), [((4, 6, 5), "yx"), ((6, 5), "cyx"), ((6, 5), "yxc"), ((2, 4, 6, 5), "zyx")]
)
def test_axes_of_training_that_do_not_fit_are_refused(shape: tuple[int, ...], usual: str) -> None:
    with pytest.raises(InputError, match=rf"trained on axes '{usual}'; give --axes with one letter for each of the"):
        open_image(np.zeros(shape, np.uint8), usual_axes=usual)


def test_axes_of_another_number_are_refused_with_an_example() -> None:
    with pytest.raises(InputError, match=r"has shape \(4, 6, 5\), 3 axes, but axes 'yx' names 2; .* such as zyx"):
        open_image(np.zeros((4, 6, 5), np.uint8), axes="yx", name="f")


def test_axes_are_asked_for_where_nothing_states_them() -> None:
    with pytest.raises(InputError, match=r"f has shape \(4, 6, 5\) and does not say .* give axes .* such as zyx"):
        open_image(np.zeros((4, 6, 5), np.uint8), name="f")


@pytest.mark.parametrize("sure", [True, False])
@pytest.mark.parametrize("usual", ["zyx", "tyx", "yx", None])
def test_colours_are_not_slices(sure: bool, usual: str | None) -> None:
    if usual == "yx" and not sure:
        assert "trained on axes 'yx'" in refused("yxs", sure=sure, usual=usual)
    else:
        assert "several values at each pixel, as colour images do (axes YXS, S)" in refused(
            "yxs", sure=sure, usual=usual
        )


@pytest.mark.parametrize("sure", [True, False])
def test_colours_are_channels_where_the_axes_say_so(sure: bool) -> None:
    assert resolved("yxs", sure=sure, axes="yxc") == "yxc"
    assert resolved("yxs", sure=sure, usual="yxc") == "yxc"
    assert "several values at each pixel" in refused("yxs", sure=sure, axes="cyx")


def test_an_unknown_axis_takes_its_name_from_training_and_the_known_ones_must_agree() -> None:
    assert resolved("?yx", usual="zyx") == "zyx"
    assert "says that its axes are ?YX" in refused("?yx", usual="xyc")


@pytest.mark.parametrize(
    ("stored", "read"),
    [("?", "u1"), (">u2", "u2"), (">i4", "i4"), ("<f8", "f8"), (">f4", "f4"), ("f2", "f4"), ("u8", "u8"), ("i1", "i1")],
)
def test_pixels_are_numbers_in_the_order_of_the_machine(stored: str, read: str) -> None:
    found = pixel_type("f", np.dtype(stored))
    assert found == np.dtype(read)
    assert found.isnative


@pytest.mark.parametrize(
    ("dtype", "told"),
    [("c8", "complex"), ([("a", "u1")], "structured"), ("O", "object"), ("U3", "<U3"), ("M8[s]", "datetime")],
)
def test_what_is_not_a_number_is_refused(dtype: object, told: str) -> None:
    with pytest.raises(InputError, match=f"f holds {told}.* values; it must hold integers or floating-point numbers"):
        pixel_type("f", np.dtype(dtype))  # type: ignore[call-overload]


@pytest.mark.parametrize("shape", [(), (6,), (1, 2, 3, 4, 5, 6)])
def test_too_few_or_too_many_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="an image has two to five axes"):
        open_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(0, 6, 5), (4, 0, 5)])
def test_an_axis_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="it holds no pixel"):
        open_image(np.zeros(shape, np.uint8), axes="zyx")
