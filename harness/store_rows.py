"""What a store holds, file by file, as types. Checks that a record holds what its readers need: `store_checks`.

`identity` is whatever a key was hashed from. Lengths are in tokens, losses in nats per token, times in seconds.
"""

from typing import Any, Literal, NotRequired, TypedDict


class Provenance(TypedDict):
    """Where a number came from."""

    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    cpu: str
    cores: int
    threads: int | None
    gpus: list[str]
    system: str
    date: str
    engine: NotRequired[str]  # of a cell


class PlannedCell(TypedDict):
    """A cell as run.json lists it."""

    label: str  # of the method
    task: str  # label of the test
    category: str
    unit: str
    length: int
    seed: int
    samples: int
    seeded: NotRequired[bool]  # absent in old stores: True
    chance: NotRequired[float]  # the score of guessing, where it is not 0
    new_tokens: NotRequired[int]  # budget of an answer; absent in old stores
    most_samples: NotRequired[int]  # of a cell that stops where it is decided: what it may grow to
    key: str


class StoredRow(TypedDict):
    """One sample's outcome: `tasks.base.Row` with the name of its prompt instead of the prompt."""

    sample: int
    score: float
    prompt: str
    generation: str
    references: list[str]
    prompt_tokens: int
    new_tokens: int
    depth: float | None
    finished: bool
    failure: str
    seconds: float
    plan_hash: str
    extra: dict[str, Any]


class CellCost(TypedDict):
    seconds: float
    token_forwards: int
    peak_memory_bytes: int


class PassLine(TypedDict):
    """A line of DIR/passes/<key>.jsonl: what the model answered in one pass of a cell that is not done."""

    asked: str  # hash of the prompts' tokens and of how they were asked
    answers: list[Any]
    seconds: float
    token_forwards: int


class Parity(TypedDict):
    """How a server's answers compare with those of transformers under the same plan."""

    prompts: int
    parts_at: list[int]  # for each answer that differs, its first differing token, from 1


class Proof(TypedDict):
    """The plan that the model was found to run with, and by how much cos and sin (logits, where positions are mapped)
    differed from it; of a server, whose model cannot be read, the plan that it was asked for."""

    plan_hash: str
    max_difference: NotRequired[float]  # none of a server
    mapped_layers: NotRequired[str]  # as in "0-3, 5"
    parity: NotRequired[Parity]  # of a server, where it was checked


class CellRecord(TypedDict):
    """DIR/cells/<key>.json"""

    key: str
    identity: dict[str, Any]
    status: Literal["done", "failed"]
    error: str
    traceback: str
    rows: list[StoredRow]
    cost: CellCost
    proof: dict[str, Proof]  # by length
    provenance: Provenance


class SearchCost(TypedDict):
    seconds: float
    token_forwards: int
    candidates: int
    evaluations: int  # forward passes


class FarUse(TypedDict):
    """Whether the texts of a search have use for far context: losses beyond the window, in nats per token."""

    texts: int  # held out
    tokens: int  # beyond the window, of all of them
    loss: float  # under the plan that was found
    loss_without: float  # of the unextended model on its last window
    gain: float  # how much lower the first is; then its 95 % interval over the texts
    low: float
    high: float
    token_forwards: int  # what the check cost, beside the search


class SearchRecord(TypedDict):
    """DIR/searches/<key>.json"""

    key: str
    label: str
    status: Literal["done", "failed"]
    error: str
    traceback: str
    identity: dict[str, Any]
    found: dict[str, Any]  # parameters of the method that the search set
    loss: float | None
    held_out: dict[str, float | None]
    held_out_samples: int
    cost: SearchCost
    evaluation_passages_avoided: int | None
    measured_now: int  # token-forwards of the last sitting
    provenance: Provenance
    rescale_factors: NotRequired[list[float | None]]  # of a finished search, as the next
    attention_factor: NotRequired[float]
    far_use: NotRequired[FarUse]  # of a search on plain text


class SearchLine(TypedDict):
    """A search as run.json lists it."""

    label: str
    extender: str
    key: str
    status: str  # done, failed or missing
    error: str
    cost: SearchCost | None
    stage_of: NotRequired[list[str]]  # labels of the trained methods that need it for an earlier stage


class TrainingCost(TypedDict):
    seconds: float
    peak_memory_bytes: int
    tokens: NotRequired[int]  # of a finished training, as all that follow
    scored_weight: NotRequired[float]
    flops: NotRequired[float]
    tokens_per_second: NotRequired[float]
    processes: NotRequired[int]
    context_parallel: NotRequired[int]
    threads: NotRequired[int]


class TrainingData(TypedDict):
    corpus: str
    order: str  # hash over the data in the order in which they were trained on
    sequences: dict[str, int]  # by portion
    documents: int | str
    dropped: int
    decontamination: str
    unused: int


class Trainable(TypedDict):
    parameters: int
    of: int
    names: list[str]


class TrainingProof(TypedDict):
    plan_hash: str
    length: int
    max_difference: float


class CurvePoint(TypedDict):
    """One step of a training."""

    step: int
    tokens: int
    loss: dict[str, float]  # by class of sequences
    weight: NotRequired[dict[str, float]]  # of the targets in the loss, by class; none before 2026-11-26
    learning_rate: float
    gradient_norm: float


class TrainedFile(TypedDict):
    file: str  # relative to DIR/trainings
    sha256: str
    bytes: int


class Trained(TypedDict):
    """What a training that ended well gives."""

    data: TrainingData
    trainable: Trainable
    plans: dict[str, TrainingProof]
    curve: list[CurvePoint]
    weights: TrainedFile
    cost: TrainingCost


class TrainingRecord(TypedDict):
    """DIR/trainings/<key>.json"""

    key: str
    identity: dict[str, Any]
    recipe: dict[str, Any]  # all its fields, with the training's label
    status: Literal["done", "failed"]
    error: str
    traceback: str
    cost: TrainingCost
    provenance: Provenance
    data: NotRequired[TrainingData]  # of a finished training, as all that follow
    trainable: NotRequired[Trainable]
    plans: NotRequired[dict[str, TrainingProof]]
    curve: NotRequired[list[CurvePoint]]
    weights: NotRequired[TrainedFile]


class TrainingLine(TypedDict):
    """A training as run.json lists it."""

    method: str
    base_method: str
    recipe: str  # label of the training
    seed: int
    key: str
    status: str  # done, failed or missing
    error: str


class StoredRope(TypedDict):
    """What the model was trained with; `inv_freq` in radians per token."""

    rotary_dims: int
    rope_theta: float
    trained_length: int
    inv_freq: list[float]
    attention_factor: float
    critical_pair: int
    layer_type: NotRequired[str]
    notes: NotRequired[list[str]]  # what a reader of the numbers has to know of this model's RoPE


class StoredModel(TypedDict):
    name: str
    origin: NotRequired[str]  # file, hash and licence, where it was converted
    weights_hash: str
    parameters: int
    dtype: NotRequired[str]
    attention: NotRequired[str]
    rope: StoredRope


class StoredPlan(TypedDict):
    inv_freq: list[float]
    attention_factor: float
    keep_first: int
    query_factor: NotRequired[float]  # on the whole attention logit, where it is not 1
    pieces: NotRequired[list[str]]  # regions with mapped positions, in words
    hash: str


class MethodTraining(TypedDict):
    base_method: str
    recipe: str
    tokens: int


class StoredMethod(TypedDict):
    """A method of a run, with its plan at every length that is evaluated."""

    label: str
    extender: str
    parameters: dict[str, Any]
    summary: str
    varies: NotRequired[bool]
    plans: dict[str, StoredPlan]  # by length
    training: NotRequired[MethodTraining]


class Condition(TypedDict):
    """What was equal between methods, or not; see harness.records.ledger."""

    condition: str
    values: dict[str, Any]  # by method
    equal: bool
    must_be_equal: bool
    within: NotRequired[str]
    among: NotRequired[list[list[str]]]


class Remark(TypedDict):
    tag: str
    text: str


class Ledger(TypedDict):
    conditions: list[Condition]
    remarks: list[Remark]
    environment: dict[str, Any]


class StoredAdaptive(TypedDict):
    """With which method all others were compared, so that cells stopped where that was decided."""

    against: str
    margin: float  # points


class Run(TypedDict):
    """run.json"""

    format: NotRequired[int]  # the store adds it
    name: str
    created: NotRequired[str]
    model: StoredModel
    target_length: int
    crossing: NotRequired[str]
    chat: NotRequired[str]  # hash of the chat template that prompts stand in
    seeds: NotRequired[list[int]]
    adaptive: NotRequired[StoredAdaptive]
    methods: list[StoredMethod]
    cells: list[PlannedCell]
    searches: NotRequired[list[SearchLine]]
    trainings: NotRequired[list[TrainingLine]]
    ledger: NotRequired[Ledger]
    rescored: NotRequired[dict[str, str]]  # by which rule, and of which store, where stored answers were scored again
