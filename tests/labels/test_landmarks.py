"""Labels that a model was trained on are known again, whatever file holds them, and others are not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.landmarks import KEPT, known_again, landmarks_of
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import Section, sections_of

MARGIN = 5


def sections(pixels: NDArray[np.uint8], dims: int) -> list[Section]:
    return sections_of(open_image(pixels, axes="zyx"), dims)


def anchors_of(labels: NDArray[np.int16], dims: int) -> AnchorSet:
    """Anchors of class indices (z, y, x), each slice a section in 2D and the whole one in 3D."""
    found = np.argwhere(labels >= 0)
    places = found if dims == 2 else np.insert(found, 0, 0, axis=1)
    return AnchorSet.of(places, labels[labels >= 0].astype(np.int64))


def found_in(
    landmarks: list[list[int]], section: Section, labels: NDArray[np.int16], window: tuple[slice, ...]
) -> set[int]:
    padded = section.read([slice(part.start - MARGIN, part.stop + MARGIN) for part in window]).astype(np.float32)
    return known_again(landmarks, padded, labels[window], window, [MARGIN] * len(window))


@pytest.fixture(params=[2, 3])
def dims(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (2, 24, 20), dtype=np.uint8)


@pytest.fixture
def dense() -> NDArray[np.int16]:
    return np.random.default_rng(1).integers(0, 3, (2, 24, 20)).astype(np.int16)


@pytest.fixture
def sparse(dense: NDArray[np.int16]) -> NDArray[np.int16]:
    kept = np.random.default_rng(2).random(dense.shape) < 0.05
    kept[:, 0, 0] = kept[:, -1, -1] = True  # the border is reflected
    return np.where(kept, dense, np.int16(-1))


def test_all_landmarks_are_in_the_labels_and_in_denser_ones_once(
    dims: int, pixels: NDArray[np.uint8], dense: NDArray[np.int16], sparse: NDArray[np.int16]
) -> None:
    given = sections(pixels, dims)
    landmarks = landmarks_of(given, anchors_of(sparse, dims))
    assert len(landmarks) == min(KEPT, int((sparse >= 0).sum()))
    assert all(len(one) == dims + 1 for one in landmarks)
    for labels in (sparse, dense):
        tiles = []
        for number, section in enumerate(given):
            own = labels[number] if dims == 2 else labels
            for part in (slice(0, 9), slice(9, 24)):
                window = (*section.whole[:-2], part, section.whole[-1])
                tiles.append(found_in(landmarks, section, own, window))
        assert set().union(*tiles) == set(range(len(landmarks)))
        assert sum(map(len, tiles)) == len(landmarks)


def test_other_classes_other_pixels_and_no_label_are_not_known(
    pixels: NDArray[np.uint8], dense: NDArray[np.int16], sparse: NDArray[np.int16]
) -> None:
    given = sections(pixels, 2)
    landmarks = landmarks_of(given, anchors_of(sparse, 2))
    whole = given[0].whole
    assert found_in(landmarks, given[0], dense[0], whole)
    assert not found_in(landmarks, given[0], (dense[0] + 1) % 3, whole)
    assert not found_in(landmarks, given[0], np.full_like(dense[0], -1), whole)
    brighter = sections(pixels // 2 + 1, 2)
    assert not found_in(landmarks, brighter[0], dense[0], whole)
    smaller = sections(pixels[:, :12], 2)
    assert found_in(landmarks, smaller[0], dense[0, :12], smaller[0].whole)


def test_no_more_landmarks_are_kept_than_are_needed_and_from_all_sections(
    pixels: NDArray[np.uint8], dense: NDArray[np.int16]
) -> None:
    landmarks = landmarks_of(sections(pixels, 2), anchors_of(dense, 2))
    assert len(landmarks) == KEPT
    rows = [place[0] for place in landmarks]
    assert rows[: KEPT // 2] == sorted(rows[: KEPT // 2])
    assert rows[KEPT // 2] < rows[KEPT // 2 - 1]  # the second section begins
