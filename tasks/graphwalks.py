"""Walks on a graph: which nodes are so many steps away from a node, or which nodes lead to it?

In the form of OpenAI's GraphWalks (huggingface.co/datasets/openai/graphwalks): a list of directed edges between nodes
with meaningless names fills the length, the question is a breadth-first search or the parents of a node, and the score
is the F1 of the set of nodes. No order of reading answers it, because edges stand in any order. Deviations: own
wording and graphs; at most four nodes are right, the same ones at every length; names of six hexadecimal digits, or of
the invented world, which cost small models fewer tokens (`names: word`); the prompt ends with the beginning of the
answer, "Final Answer: [", as a base model needs it, and an answer that goes on from there is read up to its bracket.
An answer that says "Final Answer:" itself is read by GraphWalks' rule: its last line counts, and no other.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import ClassVar

from tasks import text
from tasks.answers import SampleTask, enough_units
from tasks.corpora import world

ASKED = ("bfs", "parents")
NAMES = ("hash", "word")
DIGITS = 6
DRAWS = 1_000_000  # of names at most
MOST_NODES = 4  # of an answer, and of a layer of the search
TOKENS_OF_A_NODE, TOKENS_OF_AN_EDGE = 10, 2  # of new tokens at most, of an edge at least
OPENING = (
    "Every line is an edge of a directed graph: a -> b leads from node a to node b. For example, if the edges are "
    "a -> b and b -> c, then c is two steps away from a, and b is the only parent of c."
)
QUESTIONS = {
    "bfs": "Search breadth first. Which nodes are {steps} away from {node}, and not fewer?",
    "parents": "Which nodes are parents of {node}, that is, have an edge that leads to {node}?",
}
ANSWER = "Final Answer: ["
STATED = re.compile(r"Final Answer:\s*\[(.*)\]")

Edge = tuple[str, str]


def named_nodes(generation: str) -> set[str] | None:
    """The nodes of an answer; None where it does not keep to the form."""
    said = generation.strip()
    if "Final Answer:" in said:
        stated = STATED.search(said.splitlines()[-1])
        listed = stated[1].split(",") if stated else None
    else:
        listed = re.split(r"[,\s]+", re.split(r"[\]\n]", said)[0].strip("[ ")) if said else None
    return None if listed is None else {one.strip().strip("'\"") for one in listed if one.strip()}


def score(generation: str, sample: text.Sample) -> float:
    """F1 of the answer's set of nodes and the right set; 0 where the form is not kept."""
    said, right = named_nodes(generation), {*sample.references}
    if said is None:
        return 0.0
    if not said and not right:
        return 1.0
    return 2 * len(said & right) / (len(said) + len(right))


@dataclass(frozen=True)
class Core:
    """The part of a graph that an answer hangs on: whatever else is added, no edge may lead to `closed`."""

    asked: str
    right: tuple[str, ...]
    edges: tuple[Edge, ...]
    nodes: tuple[str, ...]
    closed: tuple[str, ...]


def search_core(rng: random.Random, names: Iterator[str], steps: int) -> Core:
    """Layers of nodes around a start: edges lead one layer on, or back, so distances are the layers' numbers."""
    layers = [[next(names)]] + [[next(names) for _ in range(rng.randint(1, MOST_NODES))] for _ in range(steps)]
    edges = [(rng.choice(before), node) for before, layer in pairwise(layers) for node in layer]
    for before, layer in pairwise(layers):
        edges += [(rng.choice(before), rng.choice(layer)), (rng.choice(layer), rng.choice(before))]
    nodes = tuple(node for layer in layers for node in layer)
    return Core(layers[0][0], tuple(layers[-1]), tuple(dict.fromkeys(edges)), nodes, ())


def parents_core(rng: random.Random, names: Iterator[str]) -> Core:
    """A node with one to four parents, and as many children."""
    node = next(names)
    parents = tuple(next(names) for _ in range(rng.randint(1, MOST_NODES)))
    children = tuple(next(names) for _ in range(rng.randint(1, MOST_NODES)))
    edges = (*((parent, node) for parent in parents), *((node, child) for child in children))
    return Core(node, parents, edges, (node, *parents, *children), (node,))


def other_edges(rng: random.Random, names: Iterator[str], core: Core) -> Iterator[Edge]:
    """Edges without end that change no answer: they start at other nodes, about two at each, and end anywhere."""
    others = [next(names), next(names)]
    open_nodes = [node for node in core.nodes if node not in core.closed]
    seen: set[Edge] = set()
    while True:
        if rng.random() < 0.5:
            others += islice(names, 1)  # none when all are taken
        edge = (rng.choice(others), rng.choice(open_nodes if rng.random() < 0.1 else others))
        if edge[0] != edge[1] and edge not in seen:
            seen.add(edge)
            yield edge


def node_names(rng: random.Random, kind: str) -> Iterator[str]:
    """Different names without end, from the half that training never sees."""
    make = world.new_name if kind == "word" else lambda rng: f"{rng.getrandbits(4 * DIGITS):0{DIGITS}x}"
    return text.draws(rng, make, True, DRAWS)


@dataclass(frozen=True, kw_only=True)
class GraphWalks(SampleTask):
    """`ask` is bfs or parents, `steps` how far the search goes, `names` what nodes are called: hash or word."""

    category: ClassVar[str] = "tracking"
    new_tokens: ClassVar[int] = TOKENS_OF_A_NODE * MOST_NODES

    ask: str = "bfs"
    steps: int = 2
    names: str = "hash"

    def __post_init__(self) -> None:
        if self.ask not in ASKED or self.names not in NAMES or not 1 <= self.steps <= 8:
            raise ValueError(
                f"graphwalks wants ask {' or '.join(ASKED)}, names {' or '.join(NAMES)} and steps in 1 … 8, got "
                f"{self.ask!r}, {self.names!r} and {self.steps}"
            )

    def sample(self, seed: int, index: int, budget: int, count: text.TokenCount) -> text.Sample:
        rng = random.Random(f"{self.name} {seed} {index}")
        names = node_names(random.Random(f"nodes {rng.getrandbits(64)}"), self.names)
        core = search_core(rng, names, self.steps) if self.ask == "bfs" else parents_core(rng, names)
        places = [(rng.random(), edge) for edge in core.edges]
        others = ((rng.random(), edge) for edge in other_edges(rng, names, core))
        steps = "one step" if self.steps == 1 else f"{self.steps} steps"
        question = QUESTIONS[self.ask].format(steps=steps, node=core.asked)

        def build(more: Sequence[tuple[float, Edge]]) -> str:
            edges = [edge for _, edge in sorted([*places, *more])]
            return f"{OPENING}\n{as_lines(edges)}\n{question}\n{ANSWER}"

        said = enough_units(
            others, lambda some: as_lines([e for _, e in some]), build, TOKENS_OF_AN_EDGE, budget, count
        )
        prompt = build(said)
        wrong = tuple(node for node in core.nodes if node not in core.right)
        extra = {"edges": len(core.edges) + len(said)}
        return text.Sample(prompt, core.right, count(prompt), None, wrong, extra)


def as_lines(edges: Sequence[Edge]) -> str:
    return "\n".join(f"{one} -> {other}" for one, other in edges)
