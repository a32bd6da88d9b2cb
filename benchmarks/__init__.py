"""Programs that measure the library, and the scenes and comparisons that they share with the tests."""

import os

# As `pipeline` has it, and so training: before torch loads its OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
