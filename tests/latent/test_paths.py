"""Paths between latents."""

from __future__ import annotations

import math

import pytest
import torch

from ganfold.latent import paths, walks
from ganfold.latent.directions import Directions


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_path_keeps_its_ends_and_stays_on_the_sphere() -> None:
    a, b = (z / z.norm() for z in normal(2, 64))
    path = paths.slerp(a, b, torch.linspace(0, 1, 9))
    assert torch.allclose(path[0], a, atol=1e-6)
    assert torch.allclose(path[-1], b, atol=1e-6)
    assert torch.allclose(path.norm(dim=1), torch.ones(9), atol=1e-6)
    steps = (path[1:] - path[:-1]).norm(dim=1)
    assert torch.allclose(steps, steps[0].expand(8), atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_parallel_latents_have_a_straight_path(factor: float) -> None:
    a = normal(16)
    path = paths.slerp(a, factor * a, torch.tensor([0.5]))
    assert torch.allclose(path[0], (1 + factor) / 2 * a, atol=1e-5)


def test_a_loop_meets_every_stop_and_closes() -> None:
    stops = normal(3, 4, 2, 2)
    loop = paths.loop(stops, 5)
    assert loop.shape == (3, 5, 4, 2, 2)
    assert torch.allclose(loop[:, 0], stops, atol=1e-6)
    toward = paths.slerp(stops[2], stops[0], torch.tensor([0.8]))[0]
    assert torch.allclose(loop[2, 4], toward, atol=1e-6)


def test_a_circle_keeps_its_distance_and_turns_evenly() -> None:
    z = normal(2, 4096)
    around = paths.circle(z, 0.5, 8, seed=1)
    cosines = torch.cosine_similarity(around, z[:, None].expand_as(around), -1)
    assert cosines.numpy() == pytest.approx(math.cos(math.pi / 4), abs=0.05)
    steps = (around - around.roll(-1, 1)).norm(dim=2)
    assert float(steps.max() / steps.min()) < 1.1  # the last step, back to the first, is as long
    assert torch.equal(paths.circle(z, 0.5, 8, seed=1), around)


def test_a_square_has_its_corners() -> None:
    corners = normal(4, 8)
    square = paths.square(corners, 3, 5)
    found = torch.stack([square[0, 0], square[0, -1], square[-1, 0], square[-1, -1]])
    assert torch.allclose(found, corners, atol=1e-5)


def test_along_sets_one_component_and_leaves_the_rest() -> None:
    z, vector = normal(2, 8)
    vector = vector / vector.norm()
    moved = paths.along(z, vector, torch.tensor([-3.0, 0.0, 3.0]))
    assert (moved @ vector).tolist() == pytest.approx([-3, 0, 3], abs=1e-5)
    rest = moved - (moved @ vector)[:, None] * vector
    assert torch.allclose(rest, (z - (z @ vector) * vector).expand(3, 8), atol=1e-5)


def test_arithmetic_adds_and_subtracts_means() -> None:
    first, second, third = normal(3, 4, 64)
    walk = walks.arithmetic([(1, first), (-1, second), (1, third)], 4, seed=0)
    total = first.mean(0) - second.mean(0) + third.mean(0)
    assert float(torch.cosine_similarity(walk.z[-1, -1], total, 0)) == pytest.approx(1, abs=1e-5)
    assert float(walk.z[-1, -1].norm()) == pytest.approx(8, abs=1e-4)  # as long as normal noise of 64 dimensions
    assert walk.rows == ("+ mean of 4", "- mean of 4", "+ mean of 4", "= result")


def test_groups_are_read_with_their_signs() -> None:
    assert walks.read_groups("1,2 - 34+5, 6") == [(1, [1, 2]), (-1, [34]), (1, [5, 6])]


@pytest.mark.parametrize("text", ["", "1,2 -", "- 1", "a + b", "1;2", "1.5", "1,,2"])
def test_other_groups_are_one_sentence(text: str) -> None:
    with pytest.raises(Exception, match="groups must be numbers of samples with commas") as caught:
        walks.read_groups(text)
    assert type(caught.value).__name__ == "GanfoldError"


def test_each_direction_has_a_row() -> None:
    found = Directions(("a", "b"), torch.eye(4)[:2])
    walk = walks.along(normal(4), found, 3, 2.0)
    assert walk.z[0, :, 0].tolist() == [-2, 0, 2]
    assert walk.z[1, :, 1].tolist() == [-2, 0, 2]
    assert walk.columns == ("-2", "0", "+2")
