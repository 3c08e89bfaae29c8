"""The evolutionary loop of both papers: parents, mutations, crossovers; every child measured on all samples.

The papers and their released code share it and differ in starting vectors, operators and sizes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from extenders.search.operators import Genome, History, Operators
from extenders.search.problem import Candidate, Problem

Make = Callable[[Genome, str, Candidate | None], Candidate]


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


def affordable(forwards: int, samples: int, populations: int = 1) -> float:
    """The largest size, in hundredths and at most 1, whose candidates `forwards` pay for at so many samples each."""
    for hundredths in range(100, 0, -1):
        if Sizes().scaled(hundredths / 100).candidates(populations) * samples <= forwards:
            return hundredths / 100
    return 0.01


def evolve(
    problem: Problem,
    start: Sequence[tuple[Genome, str]],
    grow: Callable[[int, list[tuple[Genome, Candidate]], History], tuple[Genome, Candidate] | None],
    operators: Operators,
    make: Make,
    sizes: Sizes,
    samples: int,
    populations: int = 1,
) -> Candidate:
    """The best candidate when the iterations or the budget end.

    `start` are the first individuals with their names; `grow(n, population, history)` makes individual n of the initial
    population, which has `populations · sizes.population` members, and names its parent.
    """
    problem.require(samples)
    history = History()
    first: list[tuple[Genome, Candidate]] = []
    for genome, name in start[: max(1, populations * sizes.population)]:
        history.add(genome)
        first.append((genome, make(genome, name, None)))
    while len(first) < populations * sizes.population:
        grown = grow(len(first), first, history)
        if grown is None:
            break
        history.add(grown[0])
        first.append((grown[0], make(grown[0], "mutate", grown[1])))
    genomes = {one.number: genome for genome, one in first}
    population = problem.measure([one for _, one in first], samples)
    best = problem.best(population)
    rng = problem.random("evolution")
    for _ in range(sizes.iterations):
        parents = sorted(population, key=lambda one: (one.loss, one.number))[: sizes.parents]
        children = []
        for i in range(sizes.mutations + sizes.crossovers):
            made: Genome | None = None
            parent, operator = rng.choice(parents), "mutate"
            if i >= sizes.mutations and len(parents) > 1:
                better, worse = sorted(rng.sample(range(len(parents)), 2))
                parent, operator = parents[better], "crossover"
                made = operators.cross(genomes[parent.number], genomes[parents[worse].number], rng, history)
            if made is None:
                made, operator = operators.mutate(genomes[parent.number], rng, history), "mutate"
            if made is None:
                continue  # nothing new is left around this parent
            history.add(made)
            child = make(made, operator, parent)
            genomes[child.number] = made
            children.append(child)
        measured = problem.measure(children, samples)
        population = parents + measured
        best = problem.best([best, *population])
        if len(measured) < len(children) or not children:
            break
    return best
