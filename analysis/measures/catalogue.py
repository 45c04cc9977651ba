"""The measures of sharpness by name: what each is, where it is from, its units, what leaves it unchanged. No torch.

`L` is a loss, the mean over fixed images, batch norm as at evaluation, `θ` the weights, `L₀` the loss at them. *Filter
rescaling* multiplies a filter before a batch norm, its bias and the running mean by c and the running variance by c²,
which leaves the network's outputs as they are. Such changes show that a measure means little by itself (Dinh et al.,
"Sharp minima can generalize for deep nets", ICML 2017). *Loss scale* multiplies L by a constant.
"""

from dataclasses import dataclass

LI = "Li et al., NeurIPS 2018"
KESKAR = "Keskar et al., ICLR 2017, metric 2.1 with A = I"
FORET = "Foret et al., ICLR 2021"
KWON = "Kwon et al., ICML 2021"
ANDRIUSHCHENKO = "Andriushchenko et al., ICML 2023"
GHORBANI = "Ghorbani et al., ICML 2019"
SQUARED = "loss per squared weight"


@dataclass(frozen=True)
class Measure:
    """What a column MEASURE@LOSS of a table of sharpness holds; `{…}` in the definition are settings.

    filters, scale: whether filter rescaling, and multiplying the loss, leave the value as it is. sharper: 1 where a
    greater value means a sharper landscape, -1 where a smaller one does: of radii and areas, and of the least
    eigenvalue, which is negative where these networks end and is the more curvature the further below 0.
    """

    definition: str
    source: str
    units: str = "loss"
    filters: bool = False
    scale: bool = False
    sharper: int = 1


#: name -> what it is; the order is that of the columns
MEASURES: dict[str, Measure] = {
    "half_curvature": Measure(
        "½ Σ_f (‖w_f‖²/n_f) tr H_ff, half the expected curvature along filter-normalized directions; Hutchinson's "
        "estimator, {probes} probes",
        f"{LI} for the directions; see analysis.measures.curvature",
        "loss per squared step",
        filters=True,
    ),
    "delta_small": Measure(
        "L − L₀ at radius {small}: mean over both signs of {directions} filter-normalized random directions",
        LI,
        filters=True,
    ),
    "delta_large": Measure("as delta_small, at radius {large}", LI, filters=True),
    "ratio_small": Measure("L/L₀ at radius {small}, the same mean", LI, "1", filters=True, scale=True),
    "ratio_large": Measure("as ratio_small, at radius {large}", LI, "1", filters=True, scale=True),
    "radius_double": Measure(
        "the radius at which the mean of L over those directions first is 2·L₀, infinite beyond 1; greater is flatter",
        "this toolkit",
        "step / filter norm",
        filters=True,
        scale=True,
        sharper=-1,
    ),
    "radius_level": Measure(
        "the radius at which that mean first is {level}, for the common L2 alone; 0 above it, infinite beyond 1",
        "this toolkit",
        "step / filter norm",
        filters=True,
        sharper=-1,
    ),
    "area_double": Measure(
        "area with L ≤ 2·L₀ within [−1, 1]², mean over {planes} filter-normalized random planes of 7×7 "
        "points and the spline of log L through them, too coarse where radius_double is below 0.2; greater is flatter",
        "this toolkit",
        "squared step / filter norm, at most 4",
        filters=True,
        scale=True,
        sharper=-1,
    ),
    "area_level": Measure(
        "area with L ≤ {level}, for the common L2 alone",
        "this toolkit",
        "squared step / filter norm, at most 4",
        filters=True,
        sharper=-1,
    ),
    "keskar": Measure(
        "largest L − L₀ found over |δᵢ| ≤ ε(|θᵢ| + 1), ε = {keskar_eps}: ascent until {patience} steps add "
        "less than {gain} of it, from new starts until two agree within {agreement}; at most {restarts} starts of "
        "{steps} steps",
        KESKAR,
    ),
    "keskar_ratio": Measure("keskar / L₀", KESKAR, "1", scale=True),
    "keskar_paper": Measure("100·keskar / (1 + L₀), as the paper has it", KESKAR, "%"),
    "sam": Measure(
        "largest L − L₀ found over ‖δ‖ ≤ ρ = {rho}, the images one batch; searched as keskar",
        FORET,
    ),
    "asam": Measure(
        "largest L − L₀ found over ‖δ/|θ|‖ ≤ ρ = {adaptive_rho}, elementwise; searched as keskar",
        KWON,
        filters=True,
    ),
    "asam_mean": Measure(
        "mean of L(θ + σ|θ|∘z) − L₀, σ = {sigma}, z standard normal, over pairs ±z, doubled in number until the "
        "standard error is at most {precision} of it, at most {draws}",
        ANDRIUSHCHENKO,
        filters=True,
    ),
    "trace": Measure("tr H by Hutchinson's estimator, {probes} probes", GHORBANI, SQUARED),
    "lambda_max": Measure(
        "largest eigenvalue of H by Lanczos' method to a relative residual of {tolerance}", GHORBANI, SQUARED
    ),
    "lambda_min": Measure("smallest eigenvalue of H, likewise", GHORBANI, SQUARED, sharper=-1),
    "auroc_radius": Measure(
        "the radius at which the mean AUROC over those directions has first fallen by {fall}, infinite beyond 1",
        "this toolkit",
        "step / filter norm",
        filters=True,
        scale=True,
        sharper=-1,
    ),
}


def column(measure: str, loss: str) -> str:
    """The name of a table's column: `MEASURE@LOSS`, or `MEASURE@LOSS:stderr` if `measure` is `MEASURE:stderr`."""
    name, colon, kind = measure.partition(":")
    return f"{name}@{loss}{colon}{kind}"


def sharper_sign(name: str) -> int:
    """1 if a greater value in the column MEASURE@LOSS means sharper, else -1; 1 of what is no measure here.

    >>> sharper_sign("radius_double@l2"), sharper_sign("trace@own"), sharper_sign("auroc")
    (-1, 1, 1)
    """
    found = MEASURES.get(name.partition("@")[0])
    return found.sharper if found else 1


def turned_name(name: str) -> str:
    """A column's name where its sign is turned so that up means sharper: with a minus if it was."""
    return name if sharper_sign(name) > 0 else f"−{name}"
