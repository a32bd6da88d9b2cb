"""Eight floats at once, against numpy."""

from __future__ import annotations

import numpy as np
from numba import njit

from sheap.render.simd import any8, broadcast8, exp_minus_half8, iota8, load8, max8, select8, store8, sum8

F = np.float32


@njit
def arithmetic(a, b, out):
    x, y = load8(a, 0), load8(b, 0)
    store8(out, 0, x + y * F(2))
    store8(out, 8, F(1) - x / y)
    store8(out, 16, select8((x > y) & (x != F(3)), x, F(-1)))
    store8(out, 24, select8((x <= y) | (x >= F(5)), y, iota8()))
    store8(out, 32, max8(x, y))
    store8(out, 40, broadcast8(F(7)))
    return sum8(x), any8(x < y), any8(x < F(-100))


def test_operators_match_numpy():
    a = np.array([1, -2, 3, 4.5, 5, 6, -7, 8], F)
    b = np.array([2, -3, 1, 4.5, 9, -6, 7, 0.5], F)
    out = np.zeros(48, F)
    total, some, none = arithmetic(a, b, out)
    np.testing.assert_array_equal(out[:8], a + b * F(2))
    np.testing.assert_allclose(out[8:16], F(1) - a / b, rtol=1e-6)
    np.testing.assert_array_equal(out[16:24], np.where((a > b) & (a != 3), a, F(-1)))
    np.testing.assert_array_equal(out[24:32], np.where((a <= b) | (a >= 5), b, np.arange(8, dtype=F)))
    np.testing.assert_array_equal(out[32:40], np.maximum(a, b))
    assert (out[40:] == 7).all()
    assert total == a.sum() and some and not none


@njit
def compare_with_nan(a, out):
    x = load8(a, 0)
    store8(out, 0, select8(x <= F(1), F(1), F(0)))
    store8(out, 8, select8(x != x, F(1), F(0)))


def test_comparisons_with_nan_are_false():
    a = np.array([0, np.nan, 2, np.inf, -np.inf, 1, np.nan, 3], F)
    out = np.zeros(16, F)
    compare_with_nan(a, out)
    np.testing.assert_array_equal(out[:8], (a <= 1).astype(F))
    np.testing.assert_array_equal(out[8:], np.isnan(a).astype(F))


@njit
def exponentials(a, out):
    for i in range(0, a.shape[0], 8):
        store8(out, i, exp_minus_half8(load8(a, i)))


def test_exponential():
    a = np.linspace(0, 30, 80_000, dtype=F)
    out = np.empty_like(a)
    exponentials(a, out)
    error = np.abs(out / np.exp(-0.5 * a.astype(np.float64)) - 1)
    assert error[a < 11.1].max() < 6e-7  # measured: 4.0e-7, most of it float32's rounding of the exponent
    assert error.max() < 1.5e-6  # measured: 1.0e-6
    odd = np.array([0, np.nan, np.inf, 1e30, 200, 0, 0, 0], F)
    out = np.empty_like(odd)
    exponentials(odd, out)
    assert out[0] == F(1) and np.isfinite(out).all() and (out[2:5] < 1e-29).all()
