"""The smallest settings of a training that work: shown by the help, and where tests begin."""

SMALLEST_RUN = """\
images: raw.tif
labels: strokes.tif
axes: zyx
classes: {1: membrane, 2: cytoplasm, 3: mitochondrion}
preset: small
out: runs/first
"""
