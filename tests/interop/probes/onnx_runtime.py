"""weights.onnx in whatever ONNX Runtime runs this: FILE IMAGES.npz FOUND.npz. Reads on Python 3.8."""

import sys

import numpy as np
import onnxruntime

weights, images, found = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
(entry,) = session.get_inputs()
with np.load(images) as arrays:
    np.savez(found, **{name: session.run(None, {entry.name: arrays[name]})[0] for name in arrays.files})
