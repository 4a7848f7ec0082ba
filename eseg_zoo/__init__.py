"""Train and apply ε-Seg models: sparsely supervised semantic segmentation of microscopy data."""
