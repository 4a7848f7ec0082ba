from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

import eseg_zoo
from eseg_zoo.api import Model, train
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.cli import train as command
from eseg_zoo.config import PRESETS, Run, load_run
from eseg_zoo.errors import CheckpointError, ConfigError, InputError
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.training import warm
from eseg_zoo.training.folder import Begun
from eseg_zoo.training.run import train_run
from eseg_zoo.training.warm import CLASS_AXES, KEPT, LONG, WarmStart, loosen, with_classes
from training.runs import CLASSES, SUPERVISED_ONLY, TRAINING, write_inputs, write_run

LEARNT = {"steps": 120, "epoch_steps": 40, "batch_size": 16, "accelerator": "cpu"}
FEW = {"training": TRAINING | {"steps": 4, "epoch_steps": 2}, **SUPERVISED_ONLY}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that tells dark from bright."""
    folder = tmp_path_factory.mktemp("learnt")
    write_inputs(folder)
    return Model.load(train_run(load_run(write_run(folder, training=LEARNT))))


def arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return tifffile.imread(folder / "image.tif"), tifffile.imread(folder / "labels.tif")


def run_of(**changes: Any) -> Run:
    given = {"images": "a.tif", "labels": "b.tif", "axes": "zyx", "classes": CLASSES, "out": "out"}
    return Run.model_validate(given | changes)


def right(model: Model, image: np.ndarray, truth: np.ndarray) -> float:
    """The share of pixels away from the edge that have the right label value."""
    found = model.predict(image, axes="zyx").classes.values
    away = np.r_[0:28, 36:64]
    return float((found == truth)[..., away].mean())


def test_a_model_goes_on_with_other_label_values_and_keeps_what_it_knows(learnt: Model, inputs: Path) -> None:
    image, labels = arrays(inputs)
    swapped = np.choose(labels, [0, 7, 0, 0, 2]).astype(np.uint8)
    model = learnt.train(image, swapped, classes={2: "bright", 7: "dark"}, **FEW)
    assert [(one.name, one.value) for one in model.classes] == [("bright", 2), ("dark", 7)]
    truth = np.where(np.arange(64) >= 32, 2, 7)[None, None]
    assert right(model, image, truth) > 0.95


def test_a_start_from_scratch_knows_nothing_after_as_few_steps(inputs: Path) -> None:
    image, labels = arrays(inputs)
    network = {"filters": [8, 8, 8], "latents": 4}
    model = train(image, labels, classes=CLASSES, axes="zyx", preset="small", network=network, **FEW)
    assert right(model, image, np.where(np.arange(64) >= 32, 4, 1)[None, None]) < 0.95


def test_a_new_class_is_learnt_beside_those_that_are_known(learnt: Model, inputs: Path) -> None:
    image, labels = arrays(inputs)
    image, labels = image.copy(), labels.copy()
    stripes = np.where(np.arange(64) // 2 % 2, 170, 80)
    image[:, :24] = stripes + np.random.default_rng(1).normal(0, 10, image[:, :24].shape)
    labels[:, :24] = 0
    labels[:, 4:20:4, 8:12] = labels[:, 4:20:4, 40:44] = 9
    model = learnt.train(
        image, labels, classes={1: "dark", 4: "bright", 9: "striped"}, training=LEARNT, **SUPERVISED_ONLY
    )
    truth = np.broadcast_to(np.where(np.arange(64) >= 32, 4, 1)[None, None], image.shape).copy()
    truth[:, :24] = 9
    found = model.predict(image).classes.values
    assert (found == truth)[:, np.r_[0:20, 28:64]][..., np.r_[0:28, 36:64]].mean() > 0.9


def test_a_class_that_is_left_out_is_gone(learnt: Model, inputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    image, labels = arrays(inputs)
    labels = np.where(labels == 4, 3, labels).astype(np.uint8)
    with caplog.at_level(logging.INFO, "eseg_zoo"):
        model = learnt.train(image, labels, classes={1: "dark", 3: "light"}, **FEW)
    assert [one.name for one in model.classes] == ["dark", "light"]
    assert "of the classes new is light; left out is bright" in caplog.text


def test_more_images_and_fewer_slices_are_no_obstacle(learnt: Model, inputs: Path) -> None:
    image, labels = arrays(inputs)
    model = learnt.train([image, image[:2]], [labels, labels[:2]], **FEW)
    assert model.checkpoint.training.labelled_pixels["dark"] > 4 * 7 * 3


def test_classes_are_matched_by_name_and_nothing_else_changes(learnt: Model) -> None:
    checkpoint = learnt.checkpoint
    before = checkpoint.hvae()
    after = with_classes(before, checkpoint.architecture, ["dark", "bright"], ["new", "bright", "dark"])
    old, new = before.state_dict(), after.state_dict()
    for key in old.keys() - CLASS_AXES.keys() - {"mixture.log_weights"}:
        assert torch.equal(old[key], new[key]), key
    for key, axis in CLASS_AXES.items():
        assert torch.equal(new[key].select(axis, 1), old[key].select(axis, 1)), key
        assert torch.equal(new[key].select(axis, 2), old[key].select(axis, 0)), key
    assert torch.equal(new["classifier.head.classify.bias"][0], old["classifier.head.classify.bias"].mean())
    assert torch.cdist(new["mixture.means"][:1], new["mixture.means"][1:]).min() > 5
    np.testing.assert_allclose(new["mixture.log_weights"].exp().sum(), 1, rtol=1e-6)


def test_every_part_that_has_an_entry_for_each_class_is_known(learnt: Model) -> None:
    shape = learnt.checkpoint.architecture
    states = [HVAE(type(shape)(**shape.arguments() | {"classes": count})).state_dict() for count in (2, 5)]
    differing = {key for key in states[0] if states[0][key].shape != states[1][key].shape}
    assert differing == CLASS_AXES.keys() | {"mixture.log_weights"}


def test_the_shape_is_the_models_and_the_schedule_is_short(learnt: Model) -> None:
    run = WarmStart(learnt.checkpoint).settings(run_of())
    assert (run.preset, run.network.filters, run.network.latents) == ("small", [8, 8, 8], 4)
    usual = PRESETS["small"]
    assert run.training.steps == 0
    assert 0 < run.semi_supervised.steps <= (usual["training"]["steps"] + usual["semi_supervised"]["steps"]) / 3
    assert WarmStart(learnt.checkpoint).settings(run) == run


def test_the_learning_rate_is_that_of_the_run(learnt: Model) -> None:
    start = WarmStart(learnt.checkpoint)
    assert start.settings(run_of()).training.learning_rate == run_of().training.learning_rate
    assert start.settings(run_of(training={"learning_rate": 0.1})).training.learning_rate == 0.1


def loosened(model: Model, **changes: Any) -> tuple[HVAE, HVAE]:
    """The network of a model, and the same as a run goes on from it."""
    run = WarmStart(model.checkpoint).settings(run_of(**changes))
    before, after = model.checkpoint.hvae(), model.checkpoint.hvae()
    loosen(after, run, model.checkpoint.architecture)
    return before, after


@pytest.mark.parametrize("seed", [0, 6])
def test_a_long_training_goes_on_from_weights_of_which_a_part_is_fresh(learnt: Model, seed: int) -> None:
    before, after = loosened(learnt, seed=seed)
    torch.manual_seed(seed + 1)
    fresh = dict(HVAE(learnt.checkpoint.architecture).named_parameters())
    for key, weight in after.named_parameters():
        expected = KEPT * before.get_parameter(key) + (1 - KEPT) * fresh[key]
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-6)
    for key, value in after.named_buffers():
        assert torch.equal(value, before.get_buffer(key)), "what is no weight stays"


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"steps": 0}, "semi_supervised": {"steps": LONG - 1}},
        {"training": {"steps": LONG - 1}, "semi_supervised": {"steps": 0}},
        {"training": {"learning_rate": 1e-5}},
    ],
    ids=str,
)
def test_a_short_or_a_slow_training_keeps_all_that_was_learnt(learnt: Model, changes: dict[str, Any]) -> None:
    before, after = loosened(learnt, **changes)
    for key, weight in after.named_parameters():
        assert torch.equal(weight, before.get_parameter(key)), key


def test_a_network_of_volumes_keeps_all_that_was_learnt(make_checkpoint: Callable[[int], Checkpoint]) -> None:
    shape = make_checkpoint(3).architecture
    before = HVAE(shape)
    after = copy.deepcopy(before)
    loosen(after, run_of(network={"dims": 3}), shape)
    assert all(torch.equal(*pair) for pair in zip(before.parameters(), after.parameters(), strict=True))


def test_a_training_loosens_what_it_goes_on_from_and_a_live_one_does_not(
    learnt: Model, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, labels = arrays(inputs)
    made: list[int] = []
    fresh = warm._fresh

    def told(shape: Architecture, seed: int) -> HVAE:
        made.append(seed)
        return fresh(shape, seed)

    monkeypatch.setattr(warm, "LONG", 0)
    monkeypatch.setattr(warm, "_fresh", told)
    learnt.train(image, labels, seed=3, **FEW)
    assert made == [4]
    with eseg_zoo.start_training(image, labels, start_from=learnt, axes="zyx", **FEW) as live:
        live.wait(600)
    assert made == [4], "its maps are looked at from the first step on"


def test_steps_that_are_given_are_taken(learnt: Model) -> None:
    run = WarmStart(learnt.checkpoint).settings(run_of(training={"steps": 7}, semi_supervised={"steps": 8}))
    assert (run.training.steps, run.semi_supervised.steps) == (7, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"width": 12}}, r"network\.width is 12, but the start model has dims 2, filters 8, 8, 8"),
        ({"network": {"filters": [8, 8]}}, r"network\.filters is \[8, 8\], but"),
        ({"network": {"latents": 5}}, r"network\.latents is 5, but .* latents 4; a network keeps its shape"),
        ({"network": {"dims": 3}}, r"network\.dims is 3, but"),
        ({"preset": "small"}, r"network\.(latents|width) is \d+, but"),
    ],
)
def test_a_setting_that_contradicts_the_model_is_one_line(learnt: Model, changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        WarmStart(learnt.checkpoint).settings(run_of(**changes))
    assert "\n" not in str(caught.value)


def test_a_shape_that_says_the_same_is_no_contradiction(learnt: Model) -> None:
    network = {"dims": 2, "filters": [8, 8, 8], "latents": 4}
    assert WarmStart(learnt.checkpoint).settings(run_of(network=network)).network.filters == [8, 8, 8]


def test_other_channels_too_many_classes_and_a_model_for_prediction_alone_are_told(
    learnt: Model, checkpoint: Checkpoint
) -> None:
    start, run = WarmStart(learnt.checkpoint, "a.pt"), run_of()
    with pytest.raises(InputError, match=r"the images have 2 channels, but a\.pt was trained with: intensity"):
        start.network(run, channels=2)
    many = run_of(classes={value: f"class {value}" for value in range(1, 10)})
    with pytest.raises(ConfigError, match=r"9 classes are more than the latents of a\.pt have room for, 8"):
        start.network(many, channels=1)
    with pytest.raises(CheckpointError, match="lacks what only training uses"):
        WarmStart(checkpoint).network(run, channels=1)


def test_the_command_goes_on_from_a_file(learnt: Model, inputs: Path, tmp_path: Path) -> None:
    file = learnt.save(tmp_path / "start.pt")
    path = write_run(inputs, network={}, **FEW)
    path.write_text(path.read_text().replace("preset: small\n", ""))
    command(run=path, start_from=file)
    model = Model.load(inputs / "out" / "model.pt")
    assert model.checkpoint.architecture == learnt.checkpoint.architecture
    begun = Begun.read(inputs / "out")
    assert begun
    assert begun.start == WarmStart(learnt.checkpoint).digest
    with pytest.raises(CheckpointError, match=r"nothing\.pt"):
        command(run=path, start_from=tmp_path / "nothing.pt", force=True)


def test_no_steps_and_no_start_is_one_line(inputs: Path) -> None:
    run = load_run(write_run(inputs, training=TRAINING | {"steps": 0}, semi_supervised={"steps": 4}))
    with pytest.raises(ConfigError, match=r"training\.steps is 0, which needs a model to go on from: --from model\.pt"):
        train_run(run)


def test_a_warm_start_is_resumed_from_the_same_model_only(
    learnt: Model, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(inputs, training=TRAINING, network={})
    path.write_text(path.read_text().replace("preset: small\n", ""))
    run, start = load_run(path), WarmStart(learnt.checkpoint)
    whole = Checkpoint.load(train_run(run.model_copy(update={"out": inputs / "whole"}), start=start))
    monkeypatch.setattr("eseg_zoo.training.run.finish", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_run(run, start=start)
    monkeypatch.undo()
    (inputs / "out" / "supervised" / "finished.json").unlink()
    with pytest.raises(ConfigError, match="began from a model, and --from is missing"):
        train_run(start.settings(run), resume=True)
    grown = with_classes(learnt.checkpoint.hvae(), learnt.checkpoint.architecture, ["dark", "bright"], ["x", "dark"])
    state = {key: value for key, value in grown.state_dict().items() if not key.startswith("classifier.")}
    other = WarmStart(Checkpoint(**vars(learnt.checkpoint) | {"generative_state": state}))
    with pytest.raises(ConfigError, match="that of --from is another one"):
        train_run(run, start=other, resume=True)
    resumed = Checkpoint.load(train_run(run, start=start, resume=True))
    assert all(torch.equal(value, resumed.segmenter_state[key]) for key, value in whole.segmenter_state.items())


def test_a_training_from_random_weights_is_not_resumed_from_a_model(learnt: Model, inputs: Path) -> None:
    run = load_run(write_run(inputs))
    train_run(run)
    with pytest.raises(ConfigError, match="began from no model; leave out --from"):
        train_run(run, start=WarmStart(learnt.checkpoint), resume=True)
