"""How much luck of training there is in differences between methods, judged from all trained methods at once.

Three seeds of one method say little about the luck of its training: an interval from them is 4.3 standard errors to
either side. Twelve trained methods with three seeds each say more, if that luck is alike for all. What is taken to be
alike is not its size, since a method that has everything wrong cannot vary, but its ratio to the luck of the method's
own samples, as in a beta-binomial model (McCullagh and Nelder 1989, Generalized Linear Models, section 4.5); and so for
scores, not for losses. Where one method is far luckier than the others that is not so: `seeds.two_level` lets a pair's
own seeds speak when they vary more. docs/statistics.md says how often that errs.

All trainings of a seed share data and order, and the luck of these cancels between two trained methods but not against
an untrained one. It is estimated from their means, and taken to be at least as large as a method's own.

Letters: M trained methods, U untrained ones, S seeds, N samples.
"""

from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import Array
from reports.statistics.seeds import MeanSquare, between_seeds, rest, within_seeds


@dataclass(frozen=True)
class PooledLuck:
    """`ratio`: what the luck of training adds to a method's mean square between seeds, as a share of its mean square
    within them; `seen`: the same with the samples' part left in, whose degrees of freedom are `freedom`; `common`: the
    mean square between seeds of all trained methods less the untrained ones, and its excess over samples."""

    ratio: float
    seen: float
    freedom: float
    same_samples: bool
    common: MeanSquare
    common_excess: float

    def between(self, first_SN: Array, second_SN: Array, both_trained: bool) -> MeanSquare:
        """The mean square between seeds of the first (trained) method less the second, by Satterthwaite's rule.

        Its degrees of freedom are at least the S - 1 that the pair's own seeds have.
        """
        trained = (first_SN, second_SN) if both_trained else (first_SN,)
        within = sum(within_seeds(table_SN, self.same_samples) for table_SN in trained)
        value = within_seeds(first_SN - second_SN, self.same_samples) + self.ratio * within
        unsure = (self.seen * within) ** 2 / self.freedom
        if not both_trained:
            value += max(self.common_excess, self.ratio * within)
            unsure += self.common.value**2 / self.common.freedom
        seeds, samples = first_SN.shape
        most = seeds * (samples - 1.0)
        return MeanSquare(value, max(seeds - 1.0, min(most, value**2 / unsure)) if unsure > 0 else most)


def pooled_luck(trained_MSN: Array, untrained_USN: Array, same_samples: bool) -> PooledLuck | None:
    """From the scores of all methods on the same samples; `untrained_USN` may be empty.

    What a seed does to all trained methods alike is taken out before their spread is summed. The degrees of freedom of
    the sum are (S - 1) times Box's (1954, Annals of Mathematical Statistics 25, p. 290) number of methods that vary on
    their own: methods that never vary, or together, do not count. None for fewer than three trained methods (two have
    no more to say than their difference), two seeds or two samples, or where nothing varies.
    """
    methods, seeds, samples = trained_MSN.shape
    if methods < 3 or seeds < 2 or samples < 2:
        return None
    apart_MSN = trained_MSN - trained_MSN.mean(axis=0)
    within_each = sum(within_seeds(table_SN, same_samples) for table_SN in trained_MSN)
    within = sum(within_seeds(table_SN, same_samples) for table_SN in apart_MSN)
    between = sum(between_seeds(table_SN) for table_SN in apart_MSN)
    if within <= 0:
        return None
    flat = rest(apart_MSN, same_samples).reshape(methods, -1)
    covariance_MM = flat @ flat.T  # but for a factor, which Box's ratio does not need
    alone = float(np.trace(covariance_MM)) ** 2 / float(np.sum(covariance_MM**2))
    scale = methods / (methods - 1) / within_each  # taking out the mean of all takes 1 / M of a method's own luck away
    common, excess = 0.0, 0.0
    if len(untrained_USN):
        all_SN = trained_MSN.mean(axis=0) - untrained_USN.mean(axis=0)
        common = between_seeds(all_SN)
        excess = max(0.0, common - within_seeds(all_SN, same_samples))
    return PooledLuck(
        max(0.0, between - within) * scale,
        between * scale,
        (seeds - 1) * alone,
        same_samples,
        MeanSquare(common, seeds - 1.0),
        excess,
    )
