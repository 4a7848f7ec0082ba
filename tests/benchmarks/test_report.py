from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

import ablation
import peers
from eseg_zoo.config import PRESETS, NetworkSettings, SemiSupervisedSettings
from learners import merged
from multiply_adds import semi_supervised_cost, training_cost
from report import SEMI_SUPERVISED_STEP, Report, network_row, parse, spread, supervised_steps
from rows import Outcome, Row
from vnc import CLASSES


def options(**changes: object) -> Namespace:
    return Namespace(**{"steps": 60, "repeats": 2, "budgets": [300, 6000], "few_labels": {}} | changes)


def outcome(argmax: float, corrected: float, labels: int = 300) -> Outcome:
    names = CLASSES.values()
    return Outcome(dict.fromkeys(names, argmax), dict.fromkeys(names, corrected), 100.0, labels, 1000, 2000.0)


def lines(report: Report) -> dict[str, list[str]]:
    return {line[0]: list(line[1:]) for line in report.lines}


def test_spread_is_the_sample_standard_deviation() -> None:
    assert spread([0.7, 0.8, 0.9]) == "0.800 ± 0.100"
    assert spread([0.7]) == "0.700"
    assert spread([]) == "-"
    assert spread([0.01, 0.03], signed=True) == "+0.020 ± 0.014"


def test_a_gain_is_paired_and_partial_results_are_shown() -> None:
    given = options(repeats=3)
    without = ablation.SWITCHED_OFF["KL"]
    outcomes = {
        network_row(given, 300, 0): outcome(0.50, 0.60),
        network_row(given, 300, 1): outcome(0.60, 0.80),
        network_row(given, 300, 0, without): outcome(0.49, 0.57),
        network_row(given, 300, 1, without): outcome(0.59, 0.77),
        network_row(given, 300, 2, without): outcome(0.10, 0.10),  # without a partner
    }
    found = lines(ablation.make_report(300, given, outcomes))
    assert found["nothing"][:3] == ["2", "0.550 ± 0.071", "0.700 ± 0.141"]
    assert found["KL"][0] == "3"
    assert found["KL"][3:5] == ["+0.010 ± 0.000", "+0.030 ± 0.000"]
    assert found["contrastive"][:3] == ["0", "-", "-"]


def test_the_prior_correction_is_judged_from_the_same_model() -> None:
    given = options(repeats=1)
    assert all("frequencies" not in row.settings for row in ablation.wanted_rows(given))
    outcomes = {network_row(given, 300, 0): outcome(0.5, 0.6)}
    assert lines(ablation.make_report(300, given, outcomes))["prior correction"][:5] == [
        "1", "0.500", "0.500", "+0.000", "+0.100",
    ]  # fmt: skip


def test_every_switch_is_a_setting_that_exists() -> None:
    from eseg_zoo.config import Run

    smallest = {
        "images": "a.tif", "labels": "b.tif", "axes": "zyx", "classes": CLASSES, "preset": "small", "out": "out",
    }  # fmt: skip
    for settings in (*ablation.SWITCHED_OFF.values(), *ablation.SWITCHED_ON.values()):
        Run.model_validate(merged(smallest, settings))


def test_settings_for_few_labels_are_for_few_labels() -> None:
    given = options(few_labels={"training": {"batch_size": 8}, "loss": {"beta": 1}})
    stages = {"training": {"steps": 20}, "semi_supervised": {"steps": 40}}
    assert network_row(given, 600, 0).settings == merged(stages, given.few_labels)
    assert network_row(given, 6000, 0).settings == stages
    switched_off = network_row(given, 300, 0, {"loss": {"beta": 0}})
    assert switched_off.settings["loss"] == {"beta": 0}


def test_all_methods_learn_from_the_same_draw() -> None:
    wanted = peers.series(options())
    for budget in (300, 6000):
        lines = [line for line in wanted if line.budget == budget]
        methods = [line.method for line in lines]
        assert methods == [method for method in peers.METHODS if method != peers.LONE or budget == 300]
        expected = [("points", budget // 60, 0), ("points", budget // 60, 1)]
        assert [[(row.labels, row.per_class, row.draw) for row in wanted[line]] for line in lines] == [expected] * len(
            lines
        )


def test_the_network_on_its_own_labels_has_the_settings_of_the_network() -> None:
    wanted = peers.series(options())
    (alone, _), (usual, _) = (wanted[peers.Line(method, "points", 300)] for method in (peers.LONE, peers.NETWORK))
    assert (alone.learner, alone.settings) == ("network-alone", usual.settings)


def test_scribbles_and_dense_labels_are_taken_whole() -> None:
    wanted = peers.series(options())
    found = {
        (line.name, row.learner, row.labels, row.per_class) for line, (row, _) in wanted.items() if not line.budget
    }
    assert found == {
        ("random forest, scribbles", "forest", "scribbles", None),
        ("same network, cross-entropy alone, scribbles", "network", "scribbles", None),
        ("ε-Seg, small preset, scribbles", "network", "scribbles", None),
        ("U-Net, dense", "dense-unet", "dense", None),
    }


def test_more_labels_are_learnt_in_more_steps_by_every_network() -> None:
    wanted = {line: rows[0].settings for line, rows in peers.series(options()).items()}
    stages = {budget: wanted[peers.Line(peers.NETWORK, "points", budget)] for budget in (300, 6000)}
    assert stages[300] == {"training": {"steps": 20}, "semi_supervised": {"steps": 40}}
    assert stages[6000] == {"training": {"steps": 40}, "semi_supervised": {"steps": 80}}
    assert wanted[peers.Line(peers.NETWORK, "scribbles")] == stages[6000]
    unet = {budget: wanted[peers.Line(peers.UNET, "points", budget)] for budget in (300, 6000)}
    assert unet[6000]["training"]["steps"] == pytest.approx(2 * unet[300]["training"]["steps"], abs=1)
    assert wanted[peers.DENSE] == unet[6000]
    alone = wanted[peers.Line(peers.ALONE, "scribbles")]
    assert alone["training"] == unet[6000]["training"]
    assert alone["loss"] == {"alpha": 0, "beta": 0, "gamma": 0}


def test_a_semi_supervised_step_counts_as_little_more_than_its_multiply_adds() -> None:
    preset = PRESETS["small"]
    architecture = NetworkSettings(**preset["network"]).architecture(channels=1, classes=len(CLASSES))
    semi = semi_supervised_cost(architecture, SemiSupervisedSettings(**preset["semi_supervised"]))
    supervised = preset["training"]["batch_size"] * training_cost(architecture)
    assert 0.97 * SEMI_SUPERVISED_STEP < semi / supervised <= SEMI_SUPERVISED_STEP
    assert supervised_steps(900)["training"]["steps"] == round(300 + 600 * SEMI_SUPERVISED_STEP)


def test_the_table_and_the_curve_are_made_of_what_is_finished(tmp_path: Path) -> None:
    wanted = peers.series(options())
    outcomes: dict[Row, Outcome] = {wanted[peers.Line(peers.UNET, "points", 300)][0]: outcome(0.5, 0.6)}
    outcomes |= {row: outcome(0.7, 0.8) for row in wanted[peers.DENSE]}
    report = peers.make_report(wanted, outcomes)
    assert {len(line) for line in report.lines} == {len(report.header)}
    assert "| U-Net | 300 | 1 | 0.500 | 0.600 |" in report.markdown()
    assert "| U-Net, dense | 300 | 2 | 0.700 ± 0.000 | 0.800 ± 0.000 |" in report.markdown()
    peers.draw_curve(wanted, outcomes, tmp_path / "labels.png")
    assert (tmp_path / "labels.png").read_bytes().startswith(b"\x89PNG")


def test_a_budget_that_is_not_the_same_for_every_class_and_slice_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["peers.py", "data", "--budgets", "60,100"])
    with pytest.raises(SystemExit):
        parse(None, out="peers", steps=60, budgets="60")
    assert "100 is no multiple of 60 up to 6000" in capsys.readouterr().err
