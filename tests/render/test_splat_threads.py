"""One answer on any number of threads."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from benchmarks.splat_scenes import nasty_scene
from sheap.render import rasterize_splats
from tests.render.made_splats import FIELDS, leaves


def test_any_number_of_threads_gives_the_same_bits():
    splats, cameras, background = nasty_scene("cloud", seed=20, num_splats=400, batch=2, height=70, width=90)
    results = []
    before = torch.get_num_threads()
    try:
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            fresh = leaves(splats)
            views = rasterize_splats(fresh, cameras, background=background, backend="cpu")
            views.color.sum().backward()
            results.append([views.color.detach(), views.contribution, *(getattr(fresh, name).grad for name in FIELDS)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_two_python_threads_at_once():
    """A data loader and a training step may render at the same time."""
    scenes = [nasty_scene("cloud", seed=seed, num_splats=300) for seed in (21, 22)]
    expected = [rasterize_splats(s, c, background=b, backend="cpu").color for s, c, b in scenes]
    found: dict[int, list[Tensor]] = {0: [], 1: []}

    def render(index: int) -> None:
        splats, cameras, background = scenes[index]
        for _ in range(10):
            found[index].append(rasterize_splats(splats, cameras, background=background, backend="cpu").color)

    threads = [threading.Thread(target=render, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in (0, 1):
        assert len(found[index]) == 10 and all(torch.equal(image, expected[index]) for image in found[index])
