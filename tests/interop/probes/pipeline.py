"""A package in whatever bioimageio.core runs this, as ilastik loads it: PACKAGE IMAGES.npz FOUND.npz FORMAT...

The package is read, written again with one weights format only, read back, and predicts. Reads on Python 3.8.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from bioimageio.core import Sample, Tensor, create_prediction_pipeline
from bioimageio.spec import InvalidDescr, load_description, save_bioimageio_package


def read(package):
    model = load_description(package)
    if isinstance(model, InvalidDescr):
        sys.exit("not accepted: " + " ".join(model.validation_summary.format().split()))
    return model


def with_one_format(package, name, folder):
    """Return the package's description after it was written with the weights `name` alone."""
    written = Path(folder) / f"{name}.zip"
    save_bioimageio_package(read(package), output_path=written, weights_priority_order=[name])
    model = read(written)
    kept = [key for key, entry in model.weights if entry is not None]
    if kept != [name]:
        sys.exit(f"repackaged to {name} it holds {kept}")
    return model


def predict(pipeline, model, image):
    source, target = model.inputs[0], model.outputs[0]
    model.validate_input_tensors({source.id: image})  # sizes are min + n * step
    tensor = Tensor(image, dims=[axis.id for axis in source.axes])
    sample = Sample(members={source.id: tensor}, stat={}, id="probe")
    return pipeline.predict_sample_without_blocking(sample).members[target.id].data.to_numpy()


def main(package, images, found, *formats):
    torch.set_num_threads(1)
    outputs = {}
    with np.load(images) as arrays, tempfile.TemporaryDirectory() as folder:
        for name in formats:
            model = with_one_format(package, name, folder)
            device = "CPUExecutionProvider" if name == "onnx" else "cpu"
            with create_prediction_pipeline(model, devices=[device], weight_format=name) as pipeline:
                for case in arrays.files:
                    outputs[f"{name}: {case}"] = predict(pipeline, model, arrays[case])
    np.savez(found, **outputs)


main(*sys.argv[1:])
