"""Programs that measure the library, and the scenes and comparisons that they share with the tests."""

import pipeline as pipeline  # Sets up threads as in the stages, before numpy and torch load.
