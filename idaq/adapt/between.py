"""Points between latents: what they would earn, told from the table of cross returns.

What the policies under nearby latents earn on a task is more or less alike; how much is told by the table. Each of its
rows is taken for a draw of one Gaussian process over latents, with a level of its own, a smooth part and a rough part.
The length scale and the share of the rough are those under which the table is likeliest (Rasmussen and Williams,
Gaussian Processes for Machine Learning, 2006, sections 2.7 and 5.4.1).

Shapes: H training tasks (rows), M beliefs of the prior, E points between them, Z belief, F principal components.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float32, Float64

COMPONENTS = 3
"""principal components of the beliefs: how far apart two of them are is told by these"""
NEIGHBOURS = 5
"""of a belief among the principal components: with each, the point half-way is one to play"""
LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""length scales, as shares of the beliefs' median distance"""
ROUGH = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""variances of the rough part, as shares of the smooth part's"""
_TINY = 1e-300
"""variance of a table whose rows are level"""


@dataclass(frozen=True, kw_only=True)
class Between:
    """Points half-way between beliefs that are neighbours; they earn weights @ what the beliefs earn + an unknown."""

    beliefs: Float32[np.ndarray, "E Z"]
    """no two alike, and none of the prior's"""
    weights: Float64[np.ndarray, "E M"]
    """those of a point sum to 1"""
    covariance: Float64[np.ndarray, "E E"]
    """of what is unknown"""
    foretold: float
    """share of the variance within rows that is told of a belief by the others, as the points are by all of them"""


@dataclass(frozen=True, kw_only=True)
class Process:
    """How alike what two beliefs earn is: scale * (exp(-d^2 / 2 length^2) + rough where they are the same)."""

    length: float
    rough: float
    scale: float

    def kernel(self, apart: Float64[np.ndarray, "C C"]) -> Float64[np.ndarray, "C C"]:
        """Of places so far apart, in units of `scale`."""
        return np.exp(-((apart / self.length) ** 2) / 2) + self.rough * np.eye(len(apart))


def points_between(beliefs: Float32[np.ndarray, "M Z"], rows: Float64[np.ndarray, "H M"]) -> Between:
    """Points between the beliefs, by a table of what the beliefs earn."""
    known, axes = distinct(beliefs), principal_axes(beliefs, COMPONENTS)
    points = with_half_way(known, axes)[len(known) :]
    apart = distances(np.concatenate([beliefs, points]) @ axes)
    among = apart[: len(beliefs), : len(beliefs)]
    process = likeliest(among, rows)
    weights, covariance = told_by(process, apart, len(beliefs))
    return Between(beliefs=points, weights=weights, covariance=covariance, foretold=foretold(process, among, rows))


def principal_axes(beliefs: Float32[np.ndarray, "M Z"], count: int) -> Float32[np.ndarray, "Z F"]:
    """The first principal components of the beliefs, each once."""
    known = distinct(beliefs)
    return np.linalg.svd(known - known.mean(0), full_matrices=False)[2][:count].T


def with_half_way(beliefs: Float32[np.ndarray, "M Z"], axes: Float32[np.ndarray, "Z F"]) -> Float32[np.ndarray, "C Z"]:
    """The beliefs, and the points half-way between each and its neighbours along the axes; each once."""
    near = distances(beliefs @ axes).argsort(1, kind="stable")[:, 1 : 1 + NEIGHBOURS]
    return distinct(np.concatenate([beliefs, *((beliefs[:, None] + beliefs[near]) / 2)]))


def distances(features: Float32[np.ndarray, "C F"]) -> Float64[np.ndarray, "C C"]:
    """Between features; one row at a time: a belief may be all the weights of a network."""
    return np.stack([np.sqrt(((features - one) ** 2).sum(1, dtype=np.float64)) for one in features])


def distinct(beliefs: Float32[np.ndarray, "C Z"]) -> Float32[np.ndarray, "D Z"]:
    """Each once, in their order."""
    return np.stack(list({belief.tobytes(): belief for belief in beliefs}.values()))


def told_by(
    process: Process, apart: Float64[np.ndarray, "C C"], known: int
) -> tuple[Float64[np.ndarray, "E M"], Float64[np.ndarray, "E E"]]:
    """Weights of the first M = `known` places in what the others are expected to earn, and the covariance of the rest.

    The level is unknown, and is told by the known places as well (ordinary kriging; equations 2.41 and 2.42 there).
    """
    kernel = process.kernel(apart)
    inverse, across = np.linalg.inv(kernel[:known, :known]), kernel[known:, :known]
    smooth = across @ inverse
    level, missing = inverse.sum(0) / inverse.sum(), 1 - smooth.sum(1)
    unknown = kernel[known:, known:] - smooth @ across.T + np.outer(missing, missing) / inverse.sum()
    return smooth + np.outer(missing, level), process.scale * unknown


def likeliest(apart: Float64[np.ndarray, "M M"], rows: Float64[np.ndarray, "H M"]) -> Process:
    """The process under which rows of returns are likeliest, each with the level that suits it."""
    some = apart[apart > 0]
    median = float(np.median(some)) if some.size else 1.0
    fits = list[tuple[float, Process]]()
    for share, rough in product(LENGTHS, ROUGH):
        unscaled = Process(length=share * median, rough=rough, scale=1.0)
        kernel = unscaled.kernel(apart)
        scale = max(float(((rows @ _precision(kernel)) * rows).sum()) / rows.size, _TINY)
        log_likelihood = -rows.size * np.log(scale) - len(rows) * float(np.linalg.slogdet(kernel)[1])
        fits.append((log_likelihood, replace(unscaled, scale=scale)))
    return max(fits, key=lambda fit: fit[0])[1]


def foretold(process: Process, apart: Float64[np.ndarray, "M M"], rows: Float64[np.ndarray, "H M"]) -> float:
    """The share of the variance within rows that is told of each belief by the others: R^2, one left out at a time.

    (Dubrule, Mathematical Geology 15, 1983.) 0 where nothing varies.
    """
    precision = _precision(process.kernel(apart))
    varies = float(rows.var(1).mean())
    if len(apart) < 2 or varies <= 0:
        return 0.0
    return 1 - float((((rows @ precision) / np.diag(precision)) ** 2).mean()) / varies


def _precision(kernel: Float64[np.ndarray, "M M"]) -> Float64[np.ndarray, "M M"]:
    """K^-1 less what the level takes up: rows of any level are as likely."""
    inverse = np.linalg.inv(kernel)
    return inverse - np.outer(inverse.sum(0), inverse.sum(0)) / inverse.sum()
