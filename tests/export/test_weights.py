"""The three weights files: equal to the checkpoint at any size, and readable by old runtimes."""

from __future__ import annotations

import ast
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from bioimageio.core.common import SupportedWeightsFormat
from bioimageio.spec.model.v0_5 import WeightsDescr
from eseg_export.package import write_weights
from eseg_export.tracing import known_warnings
from eseg_export.verify import FORMATS, TOLERANCE, load_runtime

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.model import architecture, dense

from .conftest import Exported, MakeCheckpoint

SIZES: dict[int, list[tuple[int, ...]]] = {
    2: [(1, 161, 203), (1, 64, 64), (1, 7, 5), (1, 1, 9), (1, 9, 1), (1, 1, 1), (3, 17, 8)],
    3: [(1, 9, 33, 41), (1, 1, 7, 5), (1, 3, 1, 9), (2, 4, 8, 8)],
}


Written = tuple[Checkpoint, WeightsDescr]


@pytest.fixture(scope="module", params=[(2, 1), (2, 2), (3, 1)], ids=["2d", "2d-two-channels", "3d"])
def written(
    request: pytest.FixtureRequest, make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory
) -> Written:
    dims, channels = request.param
    checkpoint = make_checkpoint(dims, channels=channels)
    return checkpoint, write_weights(checkpoint, tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_equals_the_checkpoint_at_awkward_sizes(written: Written, name: SupportedWeightsFormat) -> None:
    checkpoint, weights = written
    segmenter = checkpoint.segmenter()
    generator = torch.Generator().manual_seed(3)
    with known_warnings(), torch.inference_mode():
        runtime = load_runtime(weights.available_formats[name])
        for batch, *space in SIZES[checkpoint.dims]:
            image = 255 * torch.rand(batch, checkpoint.sample.shape[0], *space, generator=generator)
            expected, found = segmenter(image), runtime(image)
            assert found.shape == expected.shape, space
            assert (found - expected).abs().max() <= TOLERANCE, space


def test_the_weights_do_not_say_where_the_code_was_installed(written: Written) -> None:
    _, weights = written
    installed = str(Path(dense.__file__).parent).encode()
    for name in FORMATS:
        file = Path(str(weights.available_formats[name].source))
        content = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                content += [archive.read(record) for record in archive.namelist()]
        assert not [part for part in content if installed in part], name


def test_probabilities_of_the_fixture_are_not_trivial(checkpoint: Checkpoint) -> None:
    with torch.inference_mode():
        probabilities = checkpoint.segmenter()(checkpoint.sample[None].float())
    assert probabilities.std() > 0.2
    assert len(probabilities.argmax(1).unique()) > 1


def test_onnx_is_readable_by_oldload_runtimes(exported: Exported) -> None:
    model = onnx.load(exported.folder / "weights.onnx", load_external_data=False)
    onnx.checker.check_model(model)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version <= 8
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)


def test_onnx_crops_all_axes_at_once_and_takes_no_softmax_at_full_resolution(written: Written) -> None:
    checkpoint, weights = written
    assert weights.onnx is not None
    graph = onnx.load(str(weights.onnx.source)).graph
    crops = [node for node in graph.node if node.op_type == "Slice"]
    assert len(crops) > checkpoint.dims
    made_by_crops = {node.output[0] for node in crops}
    assert not [node.name for node in crops if node.input[0] in made_by_crops]
    assert sum(node.op_type == "Softmax" for node in graph.node) == 1, "that of the coarsest level"
    assert graph.node[-1].op_type == "Div"


def test_onnx_leaves_batch_and_space_free(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.folder / "weights.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 1, "y", "x"]


def test_torchscript_is_frozen_and_folded(exported: Exported) -> None:
    with known_warnings():
        network = torch.jit.load(exported.folder / "weights.pt")
    assert list(network.parameters()) == []
    assert "batch_norm" not in str(network.inlined_graph)


def test_torchscript_names_no_device_so_that_it_runs_on_that_of_its_image(written: Written) -> None:
    _, weights = written
    with zipfile.ZipFile(str(weights.available_formats["torchscript"].source)) as archive:
        code = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}
    assert code
    assert not [name for name, text in code.items() if "torch.device(" in text]


@pytest.mark.parametrize("weights_format", ["torchscript", "onnx"])
def test_a_comment_says_what_was_folded(exported: Exported, weights_format: str) -> None:
    comment = exported.rdf["weights"][weights_format]["comment"]
    assert "weight standardisation and the correction folded into the convolutions" in comment.lower()


def test_state_dict_loads_without_code_and_holds_every_weight(exported: Exported, checkpoint: Checkpoint) -> None:
    state = torch.load(exported.folder / "weights_state_dict.pt", weights_only=True)
    assert state.keys() == checkpoint.segmenter_state.keys()
    assert all(torch.equal(state[name], value) for name, value in checkpoint.segmenter_state.items())


def names_defined(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]


def test_architecture_is_the_code_of_the_network_in_one_file(exported: Exported) -> None:
    found = names_defined(exported.folder / "dense.py")
    assert found == names_defined(Path(architecture.__file__)) + names_defined(Path(dense.__file__))


def test_architecture_imports_torch_and_the_standard_library_alone(exported: Exported) -> None:
    tree = ast.parse((exported.folder / "dense.py").read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    origins = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert all(node.level == 0 for node in origins)
    packages = {name.split(".")[0] for name in [*names, *(str(node.module) for node in origins)]}
    assert packages - set(sys.stdlib_module_names) == {"torch"}


def test_test_output_is_the_uncropped_output_of_the_checkpoint(exported: Exported, checkpoint: Checkpoint) -> None:
    image = np.load(exported.folder / "test_input.npy")
    with torch.inference_mode():
        expected = checkpoint.segmenter()(torch.from_numpy(image)).numpy()
    assert image.dtype == np.float32
    # Not the whole sample: a GPU rounds this crop of it with the fewest values beyond the zoo's tolerance.
    assert image.shape == (1, 1, 136, 136)
    whole = checkpoint.sample[None].numpy()
    places = [(slice(y, y + 136), slice(x, x + 136)) for y in (0, 12, 24) for x in (0, 28, 56)]
    assert any(np.array_equal(image, whole[:, :, *place]) for place in places)
    np.testing.assert_array_equal(np.load(exported.folder / "test_output.npy"), expected)
