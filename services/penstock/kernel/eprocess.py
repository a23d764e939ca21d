r"""Is one version better, not worse, or worse than another? Evidence that may be looked at after every block.

The unit is a time block on whose rows both versions answered, D = mean loss of the new one minus mean loss of
the old one. Bets are made against the claim's opposite; what they have multiplied the stake by is the e-value
E. While the opposite is true, P(E ever reaches 1/α) ≤ α, so nobody needs to say beforehand when to look.

Sources: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting" (2024); Ville (1939).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

BLOCKS_BEFORE: Final = 20
"""Block differences that must be seen before a comparison begins: with fewer, their spread is a guess."""
SPREADS: Final = 5.0
"""A block difference is clipped at so many of their standard deviations: fewer make another mean of it."""
INCONCLUSIVE: Final = 0.01
"""A claim is about the clipped mean; clipping a larger share of the blocks in its favour makes it void."""
BOLDEST: Final = 0.75
"""The largest bet: a single block may cost no more than three quarters of the stake."""
_SMALLEST: Final = 1e-9

Claim = Literal["not_worse", "worse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EProcess:
    r"""Evidence for a claim about the mean of D: below the margin (not worse), or above it (worse).

    $E_t = \prod (1 + \lambda_t X_t)$ with $X = (\delta - D)/(b + \delta)$ for "not worse" and its negative
    for "worse", D clipped to [-b, b], and $\lambda_t = \mathrm{clip}((m - \sqrt{v/n})/(v + m^2), 0, .75)$
    where m and v are the mean and variance of the n values of X *before* t, 0 where n < 2. Not worse by a
    margin of 0 is better.

    m/(v + m²) is what would have grown E fastest. Any bet below 1 that is made from the past alone keeps the
    promise; taking a standard error off m keeps it where blocks are correlated, too. At level .05 and a lag-1
    autocorrelation of .4 (.2, 0), 120 blocks: bets up to .5 without it show a false claim in .025 (.004, 0)
    of the runs, up to .75 without it in .080 (.027, .009), with it in .038 (.008, .002), and a difference of
    1.25 standard deviations after 21 blocks instead of 28.

    Args:
        claim: what is to be shown.
        bound: b, see `bound`, frozen before the first block.
        margin: δ ≥ 0, the loss that is tolerated.
        blocks: how many were seen.
        sum: of X.
        squares: sum of X².
        log_e: natural logarithm of E.
        clipped: blocks whose difference was clipped in favour of the claim.

    >>> process = EProcess.start("worse", bound=0.2, margin=0.005)
    >>> for difference in [0.08, 0.12, 0.1, 0.05, 0.15] * 4:
    ...     process = process.update(difference)
    >>> round(process.e_value, 1), process.shown(0.05), process.shown(0.01)
    (197.6, True, True)
    """

    claim: Claim
    bound: float
    margin: float
    blocks: int = 0
    sum: float = 0.0
    squares: float = 0.0
    log_e: float = 0.0
    clipped: int = 0

    @classmethod
    def start(cls, claim: Claim, *, bound: float, margin: float) -> EProcess:
        """A process that has seen nothing: E = 1.

        Raises:
            ValueError: the bound is not positive, or the margin negative.
        """
        if not bound > 0 or not margin >= 0:
            raise ValueError(f"expected a bound above 0 and a margin of at least 0, got {bound} and {margin}")
        return cls(claim=claim, bound=bound, margin=margin)

    def update(self, difference: float) -> EProcess:
        """The process after one more block.

        Args:
            difference: mean loss of the new version minus that of the old one, on the rows both answered.
        """
        clipped = min(max(difference, -self.bound), self.bound)
        x = (self.margin - clipped) / (self.bound + self.margin)
        cut_off = difference - clipped
        if self.claim == "worse":
            x, cut_off = -x, -cut_off
        return replace(
            self,
            blocks=self.blocks + 1,
            sum=self.sum + x,
            squares=self.squares + x * x,
            log_e=self.log_e + math.log1p(self.bet * x),
            clipped=self.clipped + (cut_off > 0),
        )

    @property
    def bet(self) -> float:
        """λ of the next block, from the past alone."""
        # Times n: v + m² is the mean of the squares, and √(v/n) = √(Σ X² - (Σ X)²/n) / n.
        if self.blocks < 2:  # noqa: PLR2004 - one value has no spread
            return 0.0
        spread = max(self.squares - self.sum**2 / self.blocks, 0.0)
        surely = self.sum - math.sqrt(spread)
        if surely >= BOLDEST * self.squares:  # also where the squares are too small for a double
            return BOLDEST if surely > 0 else 0.0
        return max(surely / self.squares, 0.0)

    @property
    def e_value(self) -> float:
        """E, infinite where a double does not hold it."""
        return math.exp(self.log_e) if self.log_e < 700 else math.inf  # noqa: PLR2004 - ln of the greatest double

    @property
    def conclusive(self) -> bool:
        """Whether the claim is about the mean, and not about what clipping made of it."""
        return self.clipped <= INCONCLUSIVE * self.blocks

    def shown(self, level: float) -> bool:
        """Whether the claim is shown; the probability that it ever is, if it is false, is at most `level`."""
        return self.conclusive and self.log_e >= -math.log(level)


def bound(differences: Sequence[float]) -> float | None:
    """The b of a comparison: five standard deviations of the block differences seen before its first block.

    Args:
        differences: of the two versions, at least 20; None is returned for fewer: the comparison waits.

    >>> round(bound([0.01, -0.01] * 10), 3)
    0.051
    >>> bound([0.01, -0.01]) is None
    True
    """
    if len(differences) < BLOCKS_BEFORE:
        return None
    # Versions that always agree have no spread; a bound of nothing would divide by 0.
    return max(SPREADS * statistics.stdev(differences), _SMALLEST)


def level_of(epoch: int, *, lanes: int, level: float) -> float:
    r"""What the test of one lane may spend while the j-th champion serves: $6\alpha / (\pi^2 j^2 K)$.

    Over all epochs and the K lanes under test it adds up to α: the promise for a pipeline's whole life.

    Args:
        epoch: j, the first champion's being 1.
        lanes: K, how many are tested against the champion.
        level: α.

    >>> round(level_of(1, lanes=2, level=0.05), 4), round(level_of(10, lanes=2, level=0.05), 6)
    (0.0152, 0.000152)
    """
    return 6 * level / (math.pi * epoch) ** 2 / lanes
