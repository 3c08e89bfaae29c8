"""How much more trainings differ from seed to seed than their samples explain, judged from all trained methods at once.

Three seeds of one method say little about the luck of its training: an interval from them is 4.3 standard errors to
either side. Twelve trained methods with three seeds each say more, if that luck is alike for all. What is taken to be
alike is not its size, since a method that has everything wrong cannot vary, but its ratio to the luck of samples: the
ratio that a beta-binomial model gives to all methods alike (McCullagh and Nelder 1989, Generalized Linear Models,
section 4.5), and so for scores, not for losses. Where one method is far luckier than the others that is not so;
`seeds.two_level` then lets the pair's own seeds speak. Simulated with 12 methods, 3 seeds and nothing to find, a test
at 5 % calls 3 to 6 % of pairs different, and 11 to 14 % where one of the two trains with three times the spread of the
others (tests/test_simulation_statistics.py).

Letters: M methods, S seeds, N samples.
"""

from dataclasses import dataclass

import numpy as np

from reports.intervals import Array


@dataclass(frozen=True)
class PooledLuck:
    """`ratio`: mean square between seeds over mean square within them, 1 where training adds no luck of its own."""

    ratio: float
    freedom: float


def pooled_luck(scores_MSN: Array, same_samples: bool) -> PooledLuck | None:
    """The luck of training in differences between methods, whose seeds are blocks: what a seed does to all methods
    alike (its samples, its order of data) cancels and is taken out first.

    `same_samples`: every seed answered the same samples, so a sample's own difficulty is no luck and is taken out too.
    The degrees of freedom are (S - 1) times Box's (1954, Annals of Mathematical Statistics 25, p. 290) number of
    methods that vary on their own: methods that never vary, or together, do not count. None for fewer than three
    methods (two have no more to say than their difference), two seeds or two samples, or where no sample varies.
    """
    methods, seeds, samples = scores_MSN.shape
    if methods < 3 or seeds < 2 or samples < 2:
        return None
    apart_MSN = scores_MSN - scores_MSN.mean(axis=0)
    means_MS = apart_MSN.mean(axis=2)
    rest_MSN = apart_MSN - means_MS[:, :, None]
    freedom_within = seeds * (samples - 1)
    if same_samples:
        rest_MSN = rest_MSN - rest_MSN.mean(axis=1, keepdims=True)
        freedom_within = (seeds - 1) * (samples - 1)
    between = samples * float(means_MS.var(axis=1, ddof=1).sum())
    flat = rest_MSN.reshape(methods, -1)
    covariance_MM = flat @ flat.T / freedom_within
    within = float(np.trace(covariance_MM))
    if within <= 0:
        return None
    return PooledLuck(between / within, (seeds - 1) * within**2 / float(np.sum(covariance_MM**2)))
