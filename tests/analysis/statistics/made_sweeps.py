"""Simulated sweeps in which training seeds are crossed with digits, and the methods that were used on them before."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.relation.strata import identity_draws
from analysis.statistics.clusters import draw_clusters, percentile_interval
from analysis.statistics.correlations import spearman
from analysis.statistics.jackknife import jackknife_interval, without_each_seed

Floats = NDArray[np.float64]
Interval = tuple[float, float]
DIGITS, BATCHES, LOSSES = 10, 3, 2


@dataclass(frozen=True)
class Sweeps:
    """Sweeps of ten digits, three batch sizes, two losses and some seeds, as tables (seeds, digits, conditions).

    shared: the standard deviation of what a seed does to all digits, half of it to each batch size and loss apart;
    slope: what a run that is sharper than its cell's mean has more of the outcome; uneven: digits differ in noise, of
    measure and outcome alike, by factors near e^±0.5. Every draw has effects of digits and batch sizes in the measure
    and in the outcome that are larger than the noise, drawn apart, and an effect of each seed on each digit.
    """

    seeds: int
    shared: float = 0.0
    slope: float = 0.0
    uneven: bool = False

    def draw(self, generator: np.random.Generator, fixed: tuple[Floats, Floats] | None = None) -> tuple[Floats, Floats]:
        """The measure and the outcome; `fixed`: their effects of digits and batch sizes, as :meth:`effects` draws."""
        of_measure, of_outcome = fixed or (self.effects(generator), self.effects(generator))
        scale = np.exp(0.5 * generator.normal(size=(1, DIGITS, 1))) if self.uneven else 1.0
        measure, outcome = scale * self.runs(generator), scale * self.runs(generator)
        return of_measure + measure, of_outcome + outcome + self.slope * measure

    def effects(self, generator: np.random.Generator) -> Floats:
        of_batch = 1.5 * generator.normal(size=(1, 1, BATCHES, 1)) + 0.5 * generator.normal(
            size=(1, DIGITS, BATCHES, 1)
        )
        of_digit = 3 * generator.normal(size=(1, DIGITS, 1, 1)) + generator.normal(size=(1, DIGITS, 1, LOSSES))
        return (of_batch + of_digit).reshape(1, DIGITS, -1)

    def runs(self, generator: np.random.Generator) -> Floats:
        size = (self.seeds, DIGITS, BATCHES * LOSSES)
        alike = generator.normal(size=(self.seeds, 1, 1)) + 0.5 * generator.normal(size=(self.seeds, 1, size[2]))
        return self.shared * alike + 0.7 * generator.normal(size=(*size[:2], 1)) + generator.normal(size=size)

    def labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Digit, seed and condition of each row of a flattened table."""
        of_seed, of_digit, of_condition = np.indices((self.seeds, DIGITS, BATCHES * LOSSES)).reshape(3, -1)
        return of_digit, of_seed, of_condition

    def strata(self) -> NDArray[np.int64]:
        """A number for digit and loss."""
        digits, _, conditions = self.labels()
        return digits * LOSSES + conditions % LOSSES


def p_of_rows(measure: Floats, outcome: Floats, strata: NDArray[np.int64], generator: np.random.Generator) -> float:
    """The test that was used before: of Spearman's mean within digit and loss, all rows of a stratum exchangeable."""
    from scipy.stats import rankdata

    rows = np.stack([np.flatnonzero(strata == stratum) for stratum in np.unique(strata)])
    x, y = (rankdata(values.ravel()[rows], axis=1) - (rows.shape[1] + 1) / 2 for values in (measure, outcome))
    shuffled = generator.permuted(np.tile(y, (199, 1, 1)), axis=2)
    found = np.abs(np.einsum("pkn,kn->p", shuffled, x))
    return float((1 + (found >= abs((x * y).sum()) - 1e-9).sum()) / 200)


def spearman_intervals(
    measure: Floats, outcome: Floats, sweeps: Sweeps, generator: np.random.Generator, resamples: int = 200
) -> tuple[float, Interval, Interval]:
    """Spearman's mean within digit and loss with the jackknife's interval over seeds and the two-way bootstrap's."""
    digits, seeds, conditions = sweeps.labels()
    x, y, losses = measure.ravel(), outcome.ravel(), conditions % LOSSES
    draws, without = draw_clusters(digits, seeds, resamples, generator), without_each_seed(digits, seeds)
    assert without is not None

    def of(rows: NDArray[np.int64], weights: Floats) -> Floats:
        return spearman(x[rows], y[rows], weights)

    everything = np.ones(len(x), bool)
    value, left_out, drawn = (
        part.split(losses).mean_within(of, everything) for part in (identity_draws(digits), without, draws)
    )
    return float(value[0]), jackknife_interval(float(value[0]), left_out), percentile_interval(drawn)
