"""Programs that produce evidence: a table, a curve or a picture each, from one command and a small file of settings."""

import pipeline as pipeline  # Sets how OpenMP's threads wait, before torch loads it.
