"""Meshes and 2D Gaussians into images, and light on surfaces."""
