"""The stages, one program each; `stage` is what they share."""

import os

# Before torch or numba load their OpenMP: threads that wait for each other by spinning slow a computation down tenfold and
# more as soon as another process wants one of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
