"""The evolutionary loop of both papers: parents, mutations, crossovers; every child measured on all samples.

The papers and their released code share it and differ in starting vectors, operators and sizes.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extenders.search.operators import Genome, History, Operators
from extenders.search.problem import Candidate, PlanOf, Problem


@dataclass(frozen=True)
class Sizes:
    """The default hyper-parameters of papers and code alike: 64 + 40 · (16 + 16) = 1,344 candidates."""

    population: int = 64
    iterations: int = 40
    mutations: int = 16
    crossovers: int = 16
    parents: int = 32
    tries: int = 20  # of a crossover

    def scaled(self, size: float) -> "Sizes":
        """All six times `size`, rounded down, as the released code does with its `evo_scale`.

        Ours: at least 1 each, and two parents, where the code would stop or do nothing.
        """
        values = {name: max(1, int(size * value)) for name, value in vars(self).items()}
        values["parents"] = max(2, values["parents"])
        values["population"] = max(values["population"], values["parents"])
        return Sizes(**values)

    def candidates(self, populations: int = 1) -> int:
        """How many candidates are measured; LongRoPE2's code starts with two populations."""
        return populations * self.population + self.iterations * (self.mutations + self.crossovers)


def sizes_of(problem: Problem, samples: int, size: float | None = None, populations: int = 1) -> Sizes:
    """The hyper-parameters at a share of the full search; unless given, as large as the problem's budget pays for."""
    return Sizes().scaled(affordable(problem.forwards, samples, populations) if size is None else size)


def affordable(forwards: int, samples: int, populations: int = 1) -> float:
    """The largest size, in hundredths and at most 1, whose candidates `forwards` pay for at so many samples each."""
    for hundredths in range(100, 0, -1):
        if Sizes().scaled(hundredths / 100).candidates(populations) * samples <= forwards:
            return hundredths / 100
    return 0.01


@dataclass(frozen=True)
class Procedure:
    """What the papers and their codes have each in their own way, for one method.

    The initial population is filled up with mutations. `back`: member n mutates member n - `back` as soon as there is
    one, and any of the starting vectors before; None: always one of these.
    """

    name: str  # the stage of its candidates
    operators: Operators
    starts: Callable[[random.Random], list[tuple[Genome, str]]]  # starting vectors with their names
    parameters_of: Callable[[Genome], Mapping[str, Any]]  # a genome → parameters of the method
    plan_of: PlanOf
    populations: int = 1  # the initial population, in `Sizes.population`
    back: int | None = None

    def candidate(self, problem: Problem, genome: Genome, operator: str, parent: Candidate | None) -> Candidate:
        parameters = self.parameters_of(genome)
        return problem.candidate(self.plan_of(parameters), operator, parameters, parent, self.name)


def evolve(problem: Problem, procedure: Procedure, sizes: Sizes, samples: int) -> Candidate:
    """The best candidate when the iterations or the budget end."""
    problem.require(samples)
    history = History()
    first = _initial(problem, procedure, sizes, history)
    genomes = {candidate.number: genome for genome, candidate in first}
    population = problem.measure([candidate for _, candidate in first], samples)
    best = problem.best(population)
    rng = problem.random("evolution")
    for _ in range(sizes.iterations):
        parents = sorted(population, key=lambda candidate: candidate.rank)[: sizes.parents]
        children = _children(problem, procedure, sizes, parents, genomes, history, rng)
        measured = problem.measure(children, samples)
        population = parents + measured
        best = problem.best([best, *population])
        if len(measured) < len(children) or not children:
            break
    return best


def _initial(problem: Problem, procedure: Procedure, sizes: Sizes, history: History) -> list[tuple[Genome, Candidate]]:
    """The first individuals, not measured yet."""
    size = procedure.populations * sizes.population
    rng = problem.random("initial population")
    starts = procedure.starts(rng)
    members: list[tuple[Genome, Candidate]] = []
    for genome, name in starts[: max(1, size)]:
        history.add(genome)
        members.append((genome, procedure.candidate(problem, genome, name, None)))
    while len(members) < size:
        back = procedure.back
        place = len(members) - back if back is not None and len(members) >= back else rng.randrange(len(starts))
        genome, parent = members[place]
        child = procedure.operators.mutate(genome, rng, history)
        if child is None:
            break
        history.add(child)
        members.append((child, procedure.candidate(problem, child, "mutate", parent)))
    return members


def _children(
    problem: Problem,
    procedure: Procedure,
    sizes: Sizes,
    parents: Sequence[Candidate],
    genomes: dict[int, Genome],
    history: History,
    rng: random.Random,
) -> list[Candidate]:
    """Mutations, then crossovers of two parents; a crossover that fails is a mutation. Their genomes are added."""
    children = []
    for i in range(sizes.mutations + sizes.crossovers):
        genome: Genome | None = None
        parent, operator = rng.choice(parents), "mutate"
        if i >= sizes.mutations and len(parents) > 1:
            better, worse = sorted(rng.sample(range(len(parents)), 2))
            parent, operator = parents[better], "crossover"
            genome = procedure.operators.cross(genomes[parent.number], genomes[parents[worse].number], rng, history)
        if genome is None:
            genome, operator = procedure.operators.mutate(genomes[parent.number], rng, history), "mutate"
        if genome is None:
            continue  # nothing new is left around this parent
        history.add(genome)
        child = procedure.candidate(problem, genome, operator, parent)
        genomes[child.number] = genome
        children.append(child)
    return children
