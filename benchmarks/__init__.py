"""Programs that measure the library, and the scenes and comparisons that they share with the tests."""

import pipeline as pipeline  # Sets how OpenMP's threads wait, as in training, before torch loads it.
