"""Template, card and checkpoint -> the zoo's description of the model, and its `rdf.yaml` as consumers read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from bioimageio.spec import ModelDescr, ValidationContext, get_package_content
from bioimageio.spec.common import FileDescr
from bioimageio.spec.dataset.v0_3 import LinkedDataset
from bioimageio.spec.model import v0_5 as spec
from bioimageio.spec.utils import get_sha256
from pydantic import ValidationError

from eseg_export.card import Card
from eseg_export.checksums import with_checksums
from eseg_export.cover import draw_cover, draw_validation
from eseg_export.evaluation import Evaluation
from eseg_export.finished import RDF, FinishedPackage
from eseg_export.former import stated
from eseg_export.names import channel_names
from eseg_export.qupath import QUPATH, write_qupath
from eseg_export.sample import Samples
from eseg_export.template import Texts
from eseg_export.tiling import STEP, TilingAxis, tiling
from eseg_export.verify import Measurement
from eseg_export.words import COVER, VALIDATION, Story
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.errors import ExportError
from eseg_zoo.package_file import STATE

FORMAT_VERSION = "0.5.4"  # read by core 0.11, ilastik's spec 0.5.9, JDLL and QuPath; spec 0.5.12 would write its own
README = "README.md"
_INPUT, _OUTPUT = spec.TensorId("input"), spec.TensorId("output")
_BATCH, _CHANNEL = spec.AxisId("batch"), spec.AxisId("channel")  # the defaults, written out for readers without them


@dataclass(frozen=True)
class Evidence:
    """What the export made and measured before it is described."""

    weights: spec.WeightsDescr
    measured: tuple[Measurement, ...]
    samples: Samples
    date: datetime
    evaluation: Evaluation | None = None


def describe(checkpoint: Checkpoint, story: Story, evidence: Evidence, folder: Path) -> ModelDescr:
    """Write the pictures into `folder` and return the description of the model; its files are all there.

    The README there is a placeholder: its text needs the finished description (`package_files` takes it).
    """
    readme, cover, validation, state = (folder / name for name in (README, COVER, VALIDATION, STATE))
    readme.write_text(f"# {story.name}\n", encoding="utf-8")
    state.write_bytes(checkpoint.beside_weights())
    draw_cover(evidence.samples, checkpoint.classes, cover)
    draw_validation(evidence.samples, checkpoint, validation, evidence.evaluation)
    try:
        # Without the network: the zoo's test of the finished package asks what has to be asked there.
        with ValidationContext(perform_io_checks=False):
            return ModelDescr(
                id=story.card.id or _identifier(story.name),
                name=story.name,
                description=story.description,
                documentation=_file(readme),
                covers=[_file(cover)],
                attachments=[_file(validation), _file(state)],
                inputs=[_input(checkpoint, story.texts, evidence.samples)],
                outputs=[_output(checkpoint, story.texts, evidence.samples)],
                weights=evidence.weights,
                config=_config(checkpoint, story, evidence),
                **_statements(story.card, story.texts, evidence.date),
            )
    except ValidationError as error:
        raise ExportError(f"the zoo's format refuses the description: {' '.join(str(error).split())}") from error


def package_files(model: ModelDescr, readme: Callable[[FinishedPackage], str]) -> dict[str, bytes]:
    """Return the content of the package by file name, `rdf.yaml` first and in the form that every consumer reads.

    `readme` gives the text of the README for all the rest.
    """
    with ValidationContext(perform_io_checks=False):
        content = get_package_content(model, bioimageio_yaml_file_name=RDF)
    rdf = cast(dict[str, Any], content.pop(RDF))
    # Maps of source and sha256, as spec 0.5.12 writes them, stop ilastik, JDLL, QuPath and the zoo's own test runner.
    rdf["documentation"] = rdf["documentation"]["source"]
    rdf["covers"] = [cover["source"] for cover in rdf["covers"]]
    rdf["format_version"] = FORMAT_VERSION
    files = {name: Path(str(cast(FileDescr, file).source)).read_bytes() for name, file in content.items()}
    if len(model.inputs[0].axes) == 4:  # 2D: QuPath runs nothing else
        files[QUPATH] = write_qupath(rdf)
        rdf["attachments"].append({"source": QUPATH, "sha256": sha256(files[QUPATH]).hexdigest()})
    finished = FinishedPackage(rdf, files)
    files[README] = readme(finished).encode()
    return with_checksums(rdf, files)


def _statements(card: Card, texts: Texts, date: datetime) -> dict[str, Any]:
    """Return what people state, and when; a field that nobody stated is left out."""
    stated = {
        "authors": list(card.authors),
        "maintainers": list(card.maintainers),
        "uploader": card.uploader,
        "license": card.license,
        "cite": [*texts.cite, *card.cite],
        "tags": list(dict.fromkeys((*texts.tags, *card.tags))),
        "links": list(texts.links),
        "version": card.version,
        "timestamp": spec.Datetime(date),
        "git_repo": card.git_repo,
        "training_data": LinkedDataset(id=card.dataset_id) if card.dataset_id else None,
    }
    return {field: value for field, value in stated.items() if value}


def _input(checkpoint: Checkpoint, texts: Texts, samples: Samples) -> spec.InputTensorDescr:
    names = channel_names(checkpoint.channel_names, kind="channel")
    float32 = spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32"))
    return spec.InputTensorDescr(
        id=_INPUT,
        description=texts.input,
        axes=[
            spec.BatchAxis(id=_BATCH),
            spec.ChannelAxis(id=_CHANNEL, channel_names=names),
            *(
                spec.SpaceInputAxis(
                    id=spec.AxisId(axis),
                    size=spec.ParameterizedSize(min=tile.min, step=STEP),
                    concatenable=True,
                )
                for axis, tile in _space(checkpoint)
            ),
        ],
        data=spec.IntervalOrRatioDataDescr(type="float32"),
        preprocessing=[float32],  # nothing else: normalisation is in the graph, where no consumer can skip it
        test_tensor=_file(samples.test_input),
        sample_tensor=_file(samples.sample_input),
    )


def _output(checkpoint: Checkpoint, texts: Texts, samples: Samples) -> spec.OutputTensorDescr:
    return spec.OutputTensorDescr(
        id=_OUTPUT,
        description=texts.output,
        axes=[
            spec.BatchAxis(id=_BATCH),
            spec.ChannelAxis(id=_CHANNEL, channel_names=channel_names(checkpoint.class_names)),
            *(_output_axis(axis, tile) for axis, tile in _space(checkpoint)),
        ],
        data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
        test_tensor=_file(samples.test_output),
        sample_tensor=_file(samples.sample_output),
    )


def _output_axis(axis: str, tile: TilingAxis) -> spec.SpaceOutputAxis | spec.SpaceOutputAxisWithHalo:
    # The offset is the default, and has to be written: JDLL reads no default. The halo changes nothing at the border of
    # the image: bioimageio.core pads by it as the network pads by its own margin, mirrored with the edge pixel.
    # No axis has a unit or a scale, though the format would hold the pixel size: JDLL takes the scale for output size /
    # input size. The pixel size is in `config.eseg`.
    size = spec.SizeReference(tensor_id=_INPUT, axis_id=spec.AxisId(axis), offset=0)
    if tile.halo == 0:
        return spec.SpaceOutputAxis(id=spec.AxisId(axis), size=size)
    return spec.SpaceOutputAxisWithHalo(id=spec.AxisId(axis), size=size, halo=tile.halo)


def _space(checkpoint: Checkpoint) -> list[tuple[str, TilingAxis]]:
    return list(zip("zyx"[-checkpoint.dims :], tiling(checkpoint.geometry), strict=True))


def pixel_size(checkpoint: Checkpoint) -> dict[str, float]:
    """Return the micrometres per pixel of the training images along each axis of the model; empty if unknown."""
    return {axis: checkpoint.voxel_size[axis] for axis, _ in _space(checkpoint) if axis in checkpoint.voxel_size}


def _config(checkpoint: Checkpoint, story: Story, evidence: Evidence) -> spec.Config:
    rounding = evidence.samples.reproducibility
    known_to_the_zoo = spec.BioimageioConfig(
        modality=story.texts.modality,
        task="semantic segmentation",
        target_structure=list(checkpoint.class_names),
        architecture_type="ε-Seg",
        architecture_description="Ladder of latent means with valid convolutions, and a pixel classifier on them",
        model_parameter_count=sum(p.numel() for p in checkpoint.segmenter().parameters()),
        training=spec.TrainingDetails(training_duration=checkpoint.training.seconds / 3600),
        reproducibility_tolerance=[spec.ReproducibilityTolerance(**asdict(rounding.declared))],
    )
    own = origin(checkpoint, evidence.measured) | {"reproducibility": rounding.figures()}
    own |= stated(story.card, story.template.built_in)
    if evidence.evaluation is not None:
        own["evaluation"] = evidence.evaluation.model_dump(mode="json", exclude_none=True)
    return spec.Config.model_validate({"bioimageio": known_to_the_zoo, "eseg": own})


def origin(checkpoint: Checkpoint, measured: Sequence[Measurement]) -> dict[str, Any]:
    """Return classes, channels, training and settings as plain YAML values."""
    training = checkpoint.training
    return {
        "classes": [
            {"name": one.name, "value": one.value, "colour": one.colour, "frequency": one.frequency}
            for one in checkpoint.classes
        ],
        "channels": list(checkpoint.channel_names),
        "pixel_size": pixel_size(checkpoint),
        "frequency_source": checkpoint.frequency_source,
        "prior_strength": checkpoint.prior_strength,
        "temperature": float(checkpoint.segmenter_state["temperature"]),
        "labelled_pixels": training.labelled_pixels,
        "labelled_fraction": training.labelled_fraction,
        "validation": {name: score for name, score in training.validation.items() if score == score},  # JSON has no NaN
        "largest_differences": {m.weights_format: m.difference for m in measured},
        "steps": training.steps,
        "versions": training.versions,
        "settings": Run.without_paths(checkpoint.settings),
    }


def _identifier(name: str) -> spec.ModelId:
    """Return the name as an identifier; the zoo gives its own on upload, but JDLL needs one before."""
    return spec.ModelId(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))


def _file(path: Path) -> FileDescr:
    return FileDescr(source=path, sha256=get_sha256(path))
