r"""Does a loss stay within what was accepted? A detector that may be looked at after every block.

For a bet of size $\lambda$ against $E[x \mid \text{past}] \le p_0$, the product of $1 + \lambda (x - p_0)$ is
a fair or losing game as long as the claim holds. A change may begin at any block, so a new game is opened at
each one; the Shiryaev-Roberts statistic is the sum of all the games still open, $R \leftarrow (1 + R)(1 +
\lambda (x - p_0))$. Its mean over several bets, minus the number of blocks, is a supermartingale: hence the
average run length to a false alarm is at least the threshold, whatever the distribution of x in [0, 1].

Source: Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection"
(2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# Shares of the stake that each bet puts on "more than accepted": small ones win on small changes, large ones
# fast on large changes.
FRACTIONS: Final = (0.08, 0.2, 0.45, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class EDetector:
    r"""Alarms when the mean of x is more than p0: $R_i \leftarrow (1 + R_i)(1 + \lambda_i (x - p_0))$.

    $\lambda_i = f_i / p_0$ for f = .08, .2, .45, .8; the statistic is the mean of the $R_i$, the threshold
    the average run length.

    Args:
        p0: upper bound of the accepted mean of x, in (0, 1].
        arl: blocks to a false alarm, on average at least.
        bets: $R_i$, one per bet.
        gains: per bet, the logarithm of the best game still open; 0 where none is ahead (Page's CUSUM).
        opened: per bet, the number of the block at which that game was opened.
        blocks: how many were seen.

    >>> detector = EDetector.start(p0=0.2, arl=1000)
    >>> for x in [0.2] * 100 + [0.6] * 4:
    ...     detector = detector.update(x)
    >>> detector.alarmed, round(detector.statistic), detector.onset
    (True, 1638, 100)
    """

    p0: float
    arl: float
    bets: tuple[float, ...] = (0.0,) * len(FRACTIONS)
    gains: tuple[float, ...] = (0.0,) * len(FRACTIONS)
    opened: tuple[int, ...] = (0,) * len(FRACTIONS)
    blocks: int = 0

    @classmethod
    def start(cls, *, p0: float, arl: float) -> EDetector:
        """A detector that has seen nothing.

        Raises:
            ValueError: p0 is not in (0, 1], or the run length not above 1.
        """
        if not 0 < p0 <= 1 or not arl > 1:
            raise ValueError(f"p0 = {p0} must be in (0, 1], the average run length {arl} above 1")
        return cls(p0=p0, arl=arl)

    def update(self, x: float) -> EDetector:
        """The detector after one more block.

        Args:
            x: the block's loss, scaled to [0, 1].

        Raises:
            ValueError: x is outside [0, 1]: the bets could then lose more than their stake.
        """
        if not 0 <= x <= 1:
            raise ValueError(f"a block loss of {x} is outside [0, 1]")
        factors = [1 + fraction / self.p0 * (x - self.p0) for fraction in FRACTIONS]
        gains = tuple(
            max(0.0, gain + math.log(factor)) for gain, factor in zip(self.gains, factors, strict=True)
        )
        after = self.blocks + 1
        return EDetector(  # `replace` would be most of the work
            p0=self.p0,
            arl=self.arl,
            bets=tuple((1 + bet) * factor for bet, factor in zip(self.bets, factors, strict=True)),
            gains=gains,
            opened=tuple(block if gain else after for block, gain in zip(self.opened, gains, strict=True)),
            blocks=after,
        )

    @property
    def statistic(self) -> float:
        """What is compared with the average run length."""
        return sum(self.bets) / len(self.bets)

    @property
    def alarmed(self) -> bool:
        return self.statistic >= self.arl

    @property
    def onset(self) -> int:
        """Number of the block, the first being 0, at which the change most likely began.

        It is where the game that is furthest ahead was opened; `blocks`, the next one, where none is ahead.
        The statistic itself tells no onset: the small bets keep it above 1 even if x is always 0.

        Source: Page, "Continuous inspection schemes" (1954); Hinkley, "Inference about the change-point from
        cumulative sum tests" (1971).
        """
        best = max(range(len(self.gains)), key=self.gains.__getitem__)
        return self.opened[best] if self.gains[best] else self.blocks
