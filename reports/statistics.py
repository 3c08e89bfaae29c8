"""How sure a number is, and whether two methods differ: everything in one import. Each idea has a file of its own."""

from reports.equivalence import Relation, relation
from reports.intervals import (
    LEVEL,
    RESAMPLES,
    Array,
    Estimate,
    Z,
    average,
    bootstrap,
    combined,
    estimate,
    generator,
    is_binary,
    resampled_means,
    student,
    wilson,
)
from reports.multiplicity import benjamini_hochberg, holm
from reports.paired import (
    Comparison,
    Pairs,
    compare,
    difference_interval,
    mcnemar,
    p_value,
    paired_t,
    ratio_interval,
    sign_flip,
)
from reports.seeds import TwoLevel, two_level

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Array",
    "Comparison",
    "Estimate",
    "Pairs",
    "Relation",
    "TwoLevel",
    "Z",
    "average",
    "benjamini_hochberg",
    "bootstrap",
    "combined",
    "compare",
    "difference_interval",
    "estimate",
    "generator",
    "holm",
    "is_binary",
    "mcnemar",
    "p_value",
    "paired_t",
    "ratio_interval",
    "relation",
    "resampled_means",
    "sign_flip",
    "student",
    "two_level",
    "wilson",
]
