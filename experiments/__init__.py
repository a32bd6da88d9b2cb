"""Programs that produce evidence: a table, a curve or a picture each, from one command and a small file of settings."""

import pipeline as pipeline  # Sets up threads as in the stages, before numpy and torch load.
