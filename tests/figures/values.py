"""Values that a surface may hold and that figures must survive, as (5, 6) arrays: named ones, and any at all."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SHAPE = (5, 6)
_RAMP = np.linspace(0, 1, 30).reshape(SHAPE)


def _one(value: float, other: float) -> np.ndarray:
    values = np.full(SHAPE, other)
    values[2, 3] = value
    return values


EXTREMES = {
    "all NaN": np.full(SHAPE, math.nan),
    "all inf": np.full(SHAPE, math.inf),
    "inf of both signs": np.where(_RAMP > 0.5, math.inf, -math.inf),
    "one finite": _one(2.5, math.nan),
    "one finite among inf": _one(2.5, math.inf),
    "a constant": np.full(SHAPE, 7.0),
    "zeros": np.zeros(SHAPE),
    "a large constant": np.full(SHAPE, 1e300),
    "below 0": -1980 + 926 * _RAMP,
    "around 0": _RAMP - 0.3,
    "a zero": np.where(_RAMP == 0, 0, _RAMP),
    "up to 1e13": 10 ** (13 * _RAMP),
    "up to 7.7e35": 10 ** (35.886 * _RAMP),
    "a spike of 7.7e35": _one(7.7e35, 1.5),
    "1e-300 to 1e300": 10 ** (600 * _RAMP - 300),
    "nearly all doubles": (2 * _RAMP - 1) * 1.7e308,
    "the smallest doubles": np.round(10 * _RAMP) * 5e-324,
    "one rounding apart": 1e17 + 64 * np.round(_RAMP),
    "nearly constant": 1e5 + 1e-3 * _RAMP,
}

_DOUBLES = st.floats(allow_nan=True, allow_infinity=True)
_MAGNITUDES = st.integers(-323, 308).map(lambda power: 10.0**power)  # doubles by themselves are mostly near 0
_FINITE = st.floats(allow_nan=False, allow_infinity=False) | _MAGNITUDES
_RANGE = st.tuples(_FINITE, _FINITE).map(lambda ends: ends[0] * (1 - _RAMP) + ends[1] * _RAMP)
ARRAYS = arrays(np.float64, SHAPE, elements=_DOUBLES | _MAGNITUDES) | _RANGE
