"""The face graph: rings, means over them, and what a block lets through."""

from __future__ import annotations

import torch

from sheap.networks.face_graph import GraphBlock, NeighbourMean, two_ring

# A strip of six triangles, each sharing an edge with the next, and one triangle apart.
STRIP = torch.tensor([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4], [4, 5, 6], [5, 7, 6], [10, 11, 12]])


def ring_sets() -> list[set[int]]:
    starts, neighbours = two_ring(STRIP)
    return [set(neighbours[starts[i] : starts[i + 1]].tolist()) for i in range(len(STRIP))]


def test_two_ring_of_a_strip() -> None:
    assert ring_sets() == [{0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}, {1, 2, 3, 4, 5}, {2, 3, 4, 5}, {3, 4, 5}, {6}]


def test_mean_against_a_plain_loop_with_uneven_population() -> None:
    parents = torch.tensor([0, 0, 0, 1, 2, 4, 4, 5, 6, 3])
    nodes = torch.randn(10, 2, 3, generator=torch.Generator().manual_seed(0))
    rings = ring_sets()
    expected = torch.stack(
        [nodes[[j for j in range(10) if int(parents[j]) in rings[int(parents[i])]]].mean(0) for i in range(10)]
    )
    torch.testing.assert_close(NeighbourMean(STRIP)(nodes, parents), expected)


def test_a_block_carries_a_signal_two_rings_far_and_no_farther() -> None:
    torch.manual_seed(0)
    graph, parents = NeighbourMean(STRIP), torch.arange(7)
    block = GraphBlock(4, use_neighbours=True)
    nodes = torch.randn(7, 1, 4)
    touched = nodes.clone()
    touched[0] += torch.randn(1, 4)
    moved = (block(touched, parents, graph) - block(nodes, parents, graph)).abs().amax((1, 2)) > 1e-6
    assert moved.tolist() == [True, True, True, False, False, False, False]


def test_without_neighbours_a_node_sees_itself_alone() -> None:
    torch.manual_seed(0)
    graph, parents = NeighbourMean(STRIP), torch.arange(7)
    block = GraphBlock(4, use_neighbours=False)
    nodes = torch.randn(7, 1, 4)
    touched = nodes.clone()
    touched[1] += 1 + torch.randn(1, 4)
    moved = (block(touched, parents, graph) - block(nodes, parents, graph)).abs().amax((1, 2)) > 1e-6
    assert moved.tolist() == [False, True, False, False, False, False, False]
