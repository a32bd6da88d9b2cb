"""A forked child of a process that has used torch.

OpenMP's threads are not copied by a fork, and torch's next parallel loop in the child waits for them for ever. With one thread
there is no such loop; who wants more in a child starts it by `spawn`.
"""

from __future__ import annotations

import os

import torch


def _use_one_thread() -> None:
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_use_one_thread)
