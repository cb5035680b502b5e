"""Randomness that is a function of (key, row, column)."""

import numpy as np
import pytest
import torch
from scipy import stats

from ganfold.gans import noise


def test_a_row_is_the_same_in_any_batch() -> None:
    whole = noise.normal(noise.key_of(7, "z"), torch.arange(100), 10)
    some = noise.normal(noise.key_of(7, "z"), torch.tensor([41, 3, 99]), 10)
    assert torch.equal(some, whole[[41, 3, 99]])


def test_a_column_does_not_depend_on_how_many_there_are() -> None:
    long, short = (noise.uniform(1, torch.arange(5), n) for n in (8, 3))
    assert torch.equal(long[:, :3], short)


def test_a_tensor_gives_the_same_bits_as_its_integer_and_may_change_in_place() -> None:
    key, rows = torch.zeros((), dtype=torch.int64), torch.arange(5)
    for number in (0, 1, 2**63 - 1, 2**63, 2**64 - 1, noise.key_of(7, "z")):
        key.fill_(number if number < 2**63 else number - 2**64)
        assert torch.equal(noise.normal(key, rows, 3), noise.normal(number, rows, 3))
        assert torch.equal(noise.uniform(key, rows, 3), noise.uniform(number, rows, 3))


@pytest.mark.parametrize("words", [(8, "z"), (7, "x"), (7, "z", 0), ("7z",)])
def test_other_words_give_other_numbers(words: tuple[int | str, ...]) -> None:
    assert noise.key_of(*words) != noise.key_of(7, "z")
    one, other = (noise.normal(noise.key_of(*w), torch.arange(64), 64) for w in (words, (7, "z")))
    assert abs(np.corrcoef(one.flatten(), other.flatten())[0, 1]) < 0.06  # four standard errors


@pytest.mark.parametrize(("draw", "law"), [(noise.normal, stats.norm()), (noise.uniform, stats.uniform())])
def test_the_law_is_the_one_promised(draw, law) -> None:  # type: ignore[no-untyped-def]
    drawn = draw(noise.key_of(0), torch.arange(1000), 100).numpy()
    assert stats.kstest(drawn.flatten(), law.cdf).pvalue > 1e-3
    assert stats.kstest(drawn[:, 0], law.cdf).pvalue > 1e-3  # across rows
    assert stats.kstest(drawn[0], law.cdf).pvalue > 1e-4  # along one


def test_rows_and_columns_are_uncorrelated() -> None:
    drawn = noise.normal(noise.key_of(3), torch.arange(200), 200).numpy()
    for matrix in (drawn, drawn.T):
        off_diagonal = np.corrcoef(matrix)[~np.eye(200, dtype=bool)]
        assert abs(off_diagonal).max() < 0.4  # five standard errors of 1/sqrt(200)
        assert abs(off_diagonal.mean()) < 0.005


def test_uniform_never_reaches_its_ends_and_normal_is_finite() -> None:
    drawn = noise.uniform(noise.key_of(0), torch.arange(4096), 256)
    assert 0 < drawn.min() < 1e-5
    assert 1 - 1e-5 < drawn.max() < 1
    assert noise.normal(noise.key_of(0), torch.arange(4096), 256).isfinite().all()


def test_golden_numbers() -> None:
    """A seed means the same images in every version."""
    expected = torch.tensor(GOLDEN)
    assert torch.allclose(noise.normal(noise.key_of(0, "sample"), torch.arange(2), 2), expected, atol=1e-6)


GOLDEN = [[-1.912354, -0.797947], [0.846691, -0.008859]]
