"""What the compiled kernels' cache depends on."""

from __future__ import annotations

from pathlib import Path

import grimp

from sheap.render import compiled


def test_the_cache_depends_on_every_source_behind_a_kernel() -> None:
    """The list is the library's own, as it knows no import graph; here it is held to one."""
    graph = grimp.build_graph("sheap", cache_dir=None)
    kernels = graph.find_modules_that_directly_import(compiled.__name__)
    behind = kernels.union(*(graph.find_upstream_modules(kernel) for kernel in kernels))
    files = {f"{name.rpartition('.')[2]}.py" for name in behind if name.startswith("sheap.render.")}
    assert len(files) == len(behind), "a kernel uses a source outside of its folder"
    assert sorted(files) == list(compiled.KERNEL_SOURCES)
    assert all((Path(compiled.__file__).parent / name).is_file() for name in compiled.KERNEL_SOURCES)
