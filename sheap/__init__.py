"""SHeaP: a self-supervised head geometry predictor learned via 2D Gaussians, with the whole training system."""

__version__ = "0.1.0"
