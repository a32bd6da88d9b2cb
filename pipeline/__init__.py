"""The stages, one program each (`python -m pipeline.STAGE`); folders hold what they share."""

import os

# Before torch or numba load their OpenMP: its threads wait for each other by spinning. For long, that slows a computation down
# tenfold as soon as another process wants one of the cores; not at all, and every small operation pays for a wake-up.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
# numpy's matrices are small here: a second thread would burn a core and save no time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
