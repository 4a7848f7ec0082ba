# %% [markdown]
# # The Python interface
#
# Train on arrays, look at the maps, correct, save, export, and run the package: all of it without a file of settings.
# This notebook is made by `python docs/make_notebook.py` out of `docs/guides/python_notebook.py`, and its cells run in
# the tests. It took about 80 CPU seconds.

# %%
import bioimageio.core
import eseg_export
import matplotlib.pyplot as plt
import numpy as np
from eseg_export.demo.em import em_phantom
from eseg_export.demo.strokes import sparse_strokes, stroke_at

import eseg_zoo

eseg_zoo.keep_freed_memory()  # Linux: training and prediction become up to twice as fast

# %% [markdown]
# ## Images and labels
#
# Images may be paths of every format that `eseg` reads, or arrays of NumPy, Dask and xarray; labels are arrays or label
# files. Here both are synthetic: a volume like electron microscopy, and thin strokes on its first five slices.

# %%
phantom = em_phantom((6, 256, 256), rng=np.random.default_rng(0))
image, truth = phantom.image, phantom.truth  # z, y, x
strokes = np.zeros_like(truth)
strokes[:5] = sparse_strokes(truth[:5], fraction=0.004, rng=np.random.default_rng(1))
print(image.shape, image.dtype, phantom.classes, f"{(strokes > 0).mean():.2%} of the pixels are labelled")

# %%
colours = plt.get_cmap("viridis", len(phantom.classes) + 1)


def show(**pictures):
    """Show pictures side by side; grey ones as they are, maps of classes in colours."""
    places = plt.figure(figsize=(3.5 * len(pictures), 3.7), layout="constrained").subplots(1, len(pictures))
    for place, (title, picture) in zip(places, pictures.items(), strict=True):
        is_map = picture.dtype.kind in "iu" and picture.max() <= len(phantom.classes)
        place.imshow(picture, cmap=colours if is_map else "gray", vmin=0, vmax=len(phantom.classes) if is_map else None)
        place.set_title(title.replace("_", " "))
        place.set_axis_off()


show(image=image[0], strokes=strokes[0], truth=truth[0])

# %% [markdown]
# ## Train
#
# All settings are keyword arguments, named as in the YAML file. With `out="folder"` the training leaves `model.pt` and
# `report.html` there; without it nothing is left on disk. These are few steps, for a quick look: leave `training` and
# `semi_supervised` out for the preset's own.

# %%
model = eseg_zoo.train(
    image,
    strokes,
    axes="zyx",
    voxel_size={"z": 0.05, "y": 0.005, "x": 0.005},  # micrometres
    classes=phantom.classes,
    preset="small",
    training={"steps": 100},
    semi_supervised={"steps": 100},
)
model

# %% [markdown]
# `progress` is a function that hears at each step how far the work is, and may stop it with its `stop()`; the training
# then returns its best model so far.
#
# ## Predict
#
# The maps are an `xarray.Dataset`: `classes`, `probabilities` and `uncertainty`, with axes and voxel size. For images
# whose maps do not fit the memory `model.predict_to(image, "maps")` writes files.

# %%
maps = model.predict(image)
maps

# %%
classes, uncertainty = maps.classes[5].to_numpy(), maps.uncertainty[5].to_numpy()
show(unseen_image=image[5], classes=classes, uncertainty=uncertainty, truth=truth[5])

# %% [markdown]
# ## Measure
#
# Only slice 5 counts, on which there are no strokes.

# %%
before = model.evaluate(image, truth, slices="5-5").figures()
before["dice"], before["mean_dice"]

# %% [markdown]
# ## Correct
#
# `suggest` tells where a stroke teaches most: the best place first. Here the truth plays the person who paints there.

# %%
places = model.suggest(image, strokes, count=10, slices="0-4")
more, rng = strokes.copy(), np.random.default_rng(2)
for place in places:
    print(place.tell())
    z, y, x = place.position
    for painted in stroke_at(truth[z], (y, x), rng):
        more[(z, *painted)] = truth[z, y, x]

# %% [markdown]
# `train` of a model goes on from it, with all strokes, and returns a new one. Classes may be added as well. A part
# of what is gained here comes from the strokes, and a part from more steps.

# %%
better = model.train(image, more, preset="small", training={"steps": 0}, semi_supervised={"steps": 100})
after = better.evaluate(image, truth, slices="5-5").figures()
print(f"mean Dice before {before['mean_dice']:.3f}, after {after['mean_dice']:.3f}")

# %% [markdown]
# ## Save and load
#
# `load` also takes a package, and packages of other software, which can predict.

# %%
better.save("model.pt", force=True)
loaded = eseg_zoo.load("model.pt")
same = loaded.predict(image, slices="5-5").classes.equals(better.predict(image, slices="5-5").classes)
loaded, same

# %% [markdown]
# ## Export, and run the package
#
# The package is written only if each weights format equals the model.

# %%
card = {"name": "Synthetic EM segmentation", "authors": [{"name": "Jane Doe"}], "license": "CC-BY-4.0"}
package = eseg_export.export(better, "model.zip", card=card, force=True)
for measured in package.measured:
    print(f"{measured.weights_format}: differs by {measured.difference:.0e}")
for verdict in package.verdicts:
    print(f"{verdict.consumer.name}: {verdict.outcome.text}")

# %%
tensor = bioimageio.core.Tensor.from_numpy(image[5:, None].astype("float32"), dims=("batch", "channel", "y", "x"))
predicted = bioimageio.core.predict(model=package.path, inputs=tensor)
probabilities = predicted.members["output"].data.to_numpy()[0]  # class, y, x
own = better.predict(image, slices="5-5").probabilities[:, 0].to_numpy()
print(f"bioimageio.core differs by {np.abs(probabilities - own).max():.0e}")

# %% [markdown]
# ## More
#
# - `eseg_zoo.train("run.yaml", preset="default")` trains by a file; keyword arguments replace what stands there.
# - `eseg_zoo.start_training(image, strokes, ...)` trains beside a program that looks at the maps and corrects the
#   labels meanwhile.
# - [Every setting](../settings.md), and [how many strokes, and where](labels.md).
