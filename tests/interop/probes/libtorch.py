"""weights.pt in whatever libtorch runs this: FILE IMAGES.npz FOUND.npz. Reads on Python 3.8."""

import sys

import numpy as np
import torch

weights, images, found = sys.argv[1:]
torch.set_num_threads(1)
network = torch.jit.load(weights, map_location="cpu")
with np.load(images) as arrays, torch.no_grad():
    np.savez(found, **{name: network(torch.from_numpy(arrays[name])).numpy() for name in arrays.files})
