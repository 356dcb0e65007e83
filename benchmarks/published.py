"""Published results on nine UCI sets: means over the standard splits, as printed there.

The splits are 20 random ones with 10 % of the rows to test on (5 for protein). All methods
are networks with 50 hidden units (protein: 100) on standardised X and y; except for the last
column, in one hidden layer.

- VI: mean-field variational inference (Graves 2011), and PBP: probabilistic backpropagation
  (Hernandez-Lobato & Adams 2015, ICML); both as compared with by Gal & Ghahramani (2016)
- MCD: Monte Carlo dropout: Gal & Ghahramani (2016), Dropout as a Bayesian approximation, ICML
- MCD 10x: the same with ten times the epochs, and MCD 2 layers: with two hidden layers; from the
  authors' code (github.com/yaringal/DropoutUncertaintyExps)
- MCD grid: the same, tuned on a grid to convergence: Mukhoti, Stenetorp & Gal (2018), On the
  importance of strong baselines in Bayesian deep learning
- DE: deep ensembles of 5 networks with an output for the noise: Lakshminarayanan, Pritzel &
  Blundell (2017), Simple and scalable predictive uncertainty estimation, NeurIPS
- DVI: deterministic variational inference with an output for the noise: Wu et al. (2019),
  Deterministic variational inference for robust Bayesian neural networks, ICLR; no RMSE
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

# {data set: {method: value}}; a Decimal knows how many digits were printed.
Table: TypeAlias = dict[str, dict[str, Decimal]]

SHORT = {
    "bostonHousing": "boston",
    "naval-propulsion-plant": "naval",
    "power-plant": "power",
    "protein-tertiary-structure": "protein",
    "wine-quality-red": "wine",
}


def _read(text: str) -> Table:
    head, *lines = ([cell.strip() for cell in line.split("|")] for line in text.split("\n"))
    return {
        name: {method: Decimal(cell) for method, cell in zip(head[1:], cells, strict=True)}
        for name, *cells in lines
    }


# In units of y.
RMSE = _read("""\
                           |  VI  | PBP  | MCD  | MCD 10x | MCD grid |  DE  | MCD 2 layers
bostonHousing              | 4.32 | 3.01 | 2.97 |  2.80   |  2.90    | 3.28 |  2.80
concrete                   | 7.19 | 5.67 | 5.23 |  4.81   |  4.83    | 6.03 |  4.50
energy                     | 2.65 | 1.80 | 1.66 |  1.09   |  0.539   | 2.09 |  0.47
kin8nm                     | 0.10 | 0.10 | 0.10 |  0.09   |  0.0789  | 0.09 |  0.08
naval-propulsion-plant     | 0.01 | 0.01 | 0.01 |  0.00   |  0.00074 | 0.00 |  0.00
power-plant                | 4.33 | 4.12 | 4.02 |  4.00   |  4.014   | 4.11 |  3.63
protein-tertiary-structure | 4.84 | 4.73 | 4.36 |  4.27   |  4.274   | 4.71 |  3.62
wine-quality-red           | 0.65 | 0.64 | 0.62 |  0.61   |  0.622   | 0.64 |  0.60
yacht                      | 6.89 | 1.02 | 1.11 |  0.72   |  0.666   | 1.58 |  0.66""")

# Mean natural logarithm of the predictive density of a test row, y in its units.
LOG_LIKELIHOOD = _read("""\
                           |    VI|   PBP|   MCD| MCD 10x| MCD grid|    DE|   DVI| MCD 2 layers
bostonHousing              | -2.90| -2.57| -2.46|   -2.39|   -2.402| -2.41| -2.41|        -2.34
concrete                   | -3.39| -3.16| -3.04|   -2.94|   -2.937| -3.06| -3.06|        -2.82
energy                     | -2.39| -2.04| -1.99|   -1.72|   -1.212| -1.38| -1.01|        -1.48
kin8nm                     |  0.90|  0.90|  0.95|    0.97|    1.136|  1.20|  1.13|         1.10
naval-propulsion-plant     |  3.73|  3.73|  3.80|    3.92|    4.450|  5.63|  6.29|         4.32
power-plant                | -2.89| -2.84| -2.80|   -2.79|   -2.808| -2.79| -2.80|        -2.67
protein-tertiary-structure | -2.99| -2.97| -2.89|   -2.87|   -2.871| -2.83| -2.85|        -2.70
wine-quality-red           | -0.98| -0.97| -0.93|   -0.92|   -0.928| -0.94| -0.90|        -0.90
yacht                      | -3.43| -1.63| -1.55|   -1.38|   -1.250| -1.18| -0.47|        -1.37""")


def with_digits(row: dict[str, Decimal]) -> dict[str, Decimal]:
    """The values that rounding has changed by at most a tenth: not the 0.00 of naval."""
    return {
        method: value
        for method, value in row.items()
        if abs(value) >= 5 * Decimal(1).scaleb(int(value.as_tuple().exponent))
    }


def best(problem: str) -> tuple[tuple[Decimal, str], tuple[Decimal, str]]:
    """The lowest RMSE that has digits and the highest log likelihood, with their methods."""
    error, likelihood = with_digits(RMSE[problem]), LOG_LIKELIHOOD[problem]
    lowest, highest = min(error, key=error.__getitem__), max(likelihood, key=likelihood.__getitem__)
    return (error[lowest], lowest), (likelihood[highest], highest)
