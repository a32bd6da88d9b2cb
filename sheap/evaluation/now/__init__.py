"""The metric of the NoW challenge (Sanyal et al. 2019, now.is.tue.mpg.de), its folder layout and its result files."""
