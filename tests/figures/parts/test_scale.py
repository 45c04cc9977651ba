"""Heights, limits, levels and ticks of any values: where ticks stand is what they say, and they are few."""

import math
import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from figures.parts.scale import CONSTANT, Scale, check_levels, number_text, scale_of
from tests.figures.values import ARRAYS, EXTREMES
from training.runtime.command import InputError

MOST = 9


def value_of(text: str) -> Fraction:
    """The number that a tick's text says, exactly: it need not be a double."""
    plain = text.replace("−", "-").strip("$")
    if match := re.fullmatch(r"(-?)(?:([\d.]+)\\times )?10\^\{(-?\d+)\}", plain):
        sign, figures, power = match.groups()
        return (-1 if sign else 1) * Fraction(figures or "1") * Fraction(10) ** int(power)
    return Fraction(plain)


def check(scale: Scale, most: int = MOST) -> None:
    """Ticks are few, increase between the limits, and each text is the value at its height."""
    assert scale.low < scale.high
    assert math.isfinite(scale.high - scale.low)
    levels = scale.levels()
    assert len(levels) == scale.count
    assert (np.diff(levels) > 0).all()
    ticks = scale.ticks(most)
    assert 1 <= len(ticks) <= most
    assert all(before < after for before, after in pairwise(ticks))
    assert scale.low <= ticks[0] <= ticks[-1] <= scale.high
    texts = scale.texts(ticks)
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) < 32
    gap = min((after - before for before, after in pairwise(ticks)), default=1.0)
    for tick, text in zip(ticks, texts, strict=True):
        value = value_of(text)
        if scale.log:  # log10 of a fraction whose ends may be no doubles
            power = math.floor(tick)
            said = math.log10(float(value / Fraction(10) ** power)) + power
        else:
            said = float(value / Fraction(10) ** scale.power)
        assert abs(said - tick) <= 0.02 * gap + 4 * math.ulp(tick)


@given(values=ARRAYS, log=st.booleans(), most=st.integers(3, MOST))
@settings(max_examples=300, deadline=None)
def test_any_values_have_few_ticks_that_say_what_they_are(values: np.ndarray, log: bool, most: int) -> None:
    scale = scale_of([values], log)
    check(scale, most)
    heights = scale.heights(values)
    known = heights[np.isfinite(heights)]
    assert ((known >= scale.low) & (known <= scale.high)).all()
    assert np.isfinite(heights[np.isfinite(values) & ((values > 0) | (not scale.log))]).all()


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("log", [True, False])
def test_named_extremes(name: str, log: bool) -> None:
    check(scale_of([EXTREMES[name]], log))


def test_ticks_of_known_ranges() -> None:
    wanted = {
        ((8.0, 250.0), True): ["10", "20", "50", "100", "200"],
        ((3.6, 8.2), True): ["4", "5", "6", "7", "8"],
        ((1.0, 7.7e35), True): ["1", *(f"$10^{{{power}}}$" for power in range(5, 40, 5))],
        ((0.0, 7.7e35), False): ["0", *(rf"${k}\times 10^{{35}}$" for k in (2, 4, 6))],
        ((1e-300, 1e300), True): [
            *(f"$10^{{{power}}}$" for power in (-300, -200, -100)),
            "1",
            *(f"$10^{{{power}}}$" for power in (100, 200, 300)),
        ],
        ((-1980.0, -1054.0), True): ["−1800", "−1600", "−1400", "−1200"],
        ((1e5, 1e5 + 1e-3), False): ["100000", *(f"100000.{k:04d}" for k in (2, 4, 6, 8, 10))],
    }
    for (ends, log), texts in wanted.items():
        scale = scale_of([np.array(ends)], log)
        assert scale.texts(scale.ticks()) == [text.rstrip("0") if "." in text else text for text in texts]


def test_values_below_0_and_none_above_it_have_no_logarithm() -> None:
    for values, log in (([-1.0, 5], False), ([0.0, 0], False), ([0.0, 5], True), ([math.nan, math.inf], True)):
        assert scale_of([np.array(values)], True).log is log
    assert not scale_of([np.array([1.0, 2]), np.array([-1.0])], True).log  # what is compared has one scale


def test_a_constant_lies_in_the_middle_and_so_do_numbers_one_rounding_apart() -> None:
    for value in (3.0, -2e-9, 1e17, 1.7e308, 5e-324):
        scale = scale_of([np.array([value, np.nextafter(value, 0) if abs(value) > 1e-300 else value])], False)
        assert scale.heights(np.array([value]))[0] == pytest.approx((scale.low + scale.high) / 2, rel=1e-9)
    apart = np.array([1, 1 + 1e3 * CONSTANT])
    assert scale_of([apart], False).limits == (apart[0], apart[1])
    assert scale_of([np.zeros(4)], False).limits == (-0.5, 0.5)
    assert scale_of([np.full(4, np.nan)], False).limits == (0, 1)


def test_limits_that_are_chosen_are_values() -> None:
    values = [np.array([1.0, 1e35])]
    log, linear = scale_of(values, True, (1, 100)), scale_of(values, False, (0, 50))
    assert log.limits == (0, 2)
    assert linear.limits == (0, 50)
    assert (log.extend, linear.extend) == ("max", "max")
    found = [scale_of(values, True, limits).extend for limits in ((1, 1e35), (2, 1e35), (2, 100))]
    assert found == ["neither", "min", "both"]
    for limits, message in (
        ((2, 1), "found 2 1"),
        ((0, math.inf), "found 0 inf"),
        ((0, 1), "above 0 with --height log"),
    ):
        with pytest.raises(InputError, match=rf"--limits: expected .*{message}"):
            scale_of(values, True, limits)
    with pytest.raises(InputError, match="--levels: expected 2 to 100, found 101"):
        check_levels(101)


def test_texts_round_to_their_digits() -> None:
    assert number_text(1234.5, digits=3) == "1230"
    assert number_text(0) == "0"
    assert number_text(-9.999, 35, 2, plain=False) == "$-10^{36}$"
