"""Packing: documents do not see each other, positions arrive as written, and every mistake in it would show."""

import random
from typing import Any

import fakes
import pytest
import torch

from extenders.base import RopePlan
from extenders.training.batch import Batch
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.training.objective import Objective, Plans, document_kernel
from harness.training.packing import Document, Packed, batch, pack, skip


def document(*ids: int) -> Document:
    return Document(ids, (0.0, *[1.0] * (len(ids) - 1)))


def texts(sizes: tuple[int, ...], seed: str = "documents") -> list[Document]:
    rng = random.Random(seed)
    return [document(256, *[rng.randrange(250) for _ in range(size - 1)]) for size in sizes]


def test_masked_packing_by_hand() -> None:
    made = pack([document(1, 2, 3), document(4, 5), document(6, 7, 8, 9)], 6, masked=True)
    assert made == Packed((1, 2, 3, 4, 5, 6), (0, 1, 2, 0, 1, 0), (2, 3, 4, 5, 6, 7), (1, 1, 0, 1, 0, 1), (0, 3, 5))


def test_plain_packing_by_hand() -> None:
    made = pack([document(1, 2, 3), document(4, 5), document(6, 7, 8, 9)], 6, masked=False)
    assert made == Packed((1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5), (2, 3, 4, 5, 6, 7), (1, 1, 0, 1, 0, 1), (0,))


def test_a_document_that_only_begins_as_the_last_target_is_no_document() -> None:
    assert pack([document(1, 2), document(3, 4)], 2, masked=True).starts == (0,)


def test_too_few_tokens_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 tokens, a sequence of 3 needs 4"):
        pack([document(1, 2, 3)], 3, masked=True)


def test_skipped_positions_jump_once_and_keep_their_text() -> None:
    jumps, last = set(), set()
    for seed in range(200):
        made = skip([document(*range(60))], 16, 128, random.Random(seed))
        steps = [b - a for a, b in zip(made.positions, made.positions[1:], strict=False)]
        assert made.positions[0] == 0 and made.positions[-1] <= 127 and sum(step != 1 for step in steps) <= 1
        assert made.targets[:-1] == made.ids[1:]
        content = [b - a for a, b in zip(made.ids, made.ids[1:], strict=False)]
        assert sum(step != 1 for step in content) <= 1  # two pieces of the text, each whole
        jumps.add(max(steps))
        last.add(made.positions[-1])
    assert max(jumps) > 100 and len(jumps) > 50 and min(last) < 20  # anywhere before the target
    assert max(last) == 127
    assert max(skip([document(*range(60))], 16, 128, random.Random(s), most=20).targets[-1] for s in range(50)) == 19
    with pytest.raises(ValueError, match="cannot give a sequence"):
        skip([document(*range(10))], 16, 128, random.Random(0))


def logits(model: Any, batch_: Batch) -> torch.Tensor:
    """Of every position, through the very path that training runs."""
    caught: list[torch.Tensor] = []
    objective = Objective(model)
    hook = model.base_model.register_forward_hook(lambda *given: caught.append(given[2].last_hidden_state))
    try:
        objective(batch_)
    finally:
        hook.remove()
    logits_BSV: torch.Tensor = model.get_output_embeddings()(caught[-1])
    return logits_BSV


@pytest.fixture(scope="module")
def model() -> Any:
    return fakes.tiny_llama().train()


SIZES = (40, 7, 130, 23)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_packed_and_separate_documents_have_the_same_logits(model: Any, checkpointing: bool, half: bool) -> None:
    """In training mode, with the training kernel and with plans applied; two rows with other documents each."""
    documents = texts(SIZES)
    rows = [pack([*documents, *texts((9,), "filler")], 200, masked=True)]
    rows.append(pack([*reversed(documents), *texts((9,), "filler")], 200, masked=True))
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        spec = spec_from_config(model.config)
        with applied(model, spec) as rotary, document_kernel(model), torch.autocast("cpu", enabled=half):
            rotary.use(RopePlan.rescaled(spec, [1 + i for i in range(len(spec.inv_freq))], 1.2))
            packed = logits(model, batch("short", "planned", rows))
            alone = [
                logits(model, batch("short", "planned", [pack([d, document(1, 2)], len(d), masked=True)]))[0]
                for d in documents
            ]
    finally:
        model.gradient_checkpointing_disable()
    # bf16 products of other shapes are summed in another order, and one rounding step is 2^-8 of a value
    allowed = 0.06 if half else 1e-5
    for row, order in ((0, documents), (1, documents[::-1])):
        place = 0
        for one in order:
            separate = alone[documents.index(one)].detach().float()
            together = packed[row, place : place + len(one)].detach().float()
            assert (together - separate).abs().max() <= allowed * max(1.0, float(separate.abs().max()))
            place += len(one)


@pytest.mark.parametrize("starts", [(0,), (0, 40, 47), (0, 41, 47, 177), (0, 39, 47, 177)])
def test_a_wrong_mask_shows(model: Any, starts: tuple[int, ...]) -> None:
    right = batch("short", "original", [pack([*texts(SIZES), *texts((9,))], 200, masked=True)])
    assert right.starts == ((0, 40, 47, 177),)
    wrong = Batch("short", "original", right.ids_BS, right.positions_BS, right.targets_BS, right.weights_BS, (starts,))
    with document_kernel(model):
        assert (logits(model, right) - logits(model, wrong)).abs().max() > 1e-3


def test_the_kernel_goes_with_its_block_and_a_model_that_ignores_it_is_stopped(model: Any) -> None:
    before = model.config._attn_implementation
    one = batch("short", "original", [pack(texts(SIZES), 199, masked=True)])
    with document_kernel(model):
        assert model.config._attn_implementation != before
        Objective(model)(one)
        model.config._attn_implementation = before  # what a reload or a wrapper might do
        with pytest.raises(RuntimeError, match="does not attend by document"):
            Objective(model)(one)
    assert model.config._attn_implementation == before


def test_attention_that_we_do_not_know_is_refused() -> None:
    gemma = fakes.tiny_model("gemma2", attn_implementation="eager").train()
    with document_kernel(gemma), pytest.raises(ValueError, match="softcap"):
        Objective(gemma)(batch("long", "original", [pack(texts((40,)), 32, masked=False)]))


def test_positions_reach_the_rotary_module_as_written(model: Any) -> None:
    one = batch("skipped", "planned", [skip(texts((90,)), 60, 256, random.Random(s)) for s in range(3)])
    assert any(int(row.diff().max()) > 1 for row in one.positions_BS)
    seen: list[torch.Tensor] = []
    rotary_module = model.base_model.rotary_emb

    def caught(_: Any, given: Any, named: Any) -> None:
        seen.append((given[1] if len(given) > 1 else named["position_ids"]).clone())

    hook = rotary_module.register_forward_pre_hook(caught, with_kwargs=True)
    try:
        with document_kernel(model):
            Objective(model)(one)
    finally:
        hook.remove()
    assert torch.equal(seen[-1], one.positions_BS)
    assert all(given.shape == (1, 1) for given in seen[:-1])  # the head, asked once with one token


def test_gaps_in_positions_are_no_document_boundaries(model: Any) -> None:
    """transformers takes them for packed documents; here the second chunk sees the first."""
    row = skip(texts((90,)), 60, 256, random.Random(3))
    gap = max(range(1, 60), key=lambda i: row.positions[i] - row.positions[i - 1])
    changed = Packed((row.ids[0] ^ 1, *row.ids[1:]), row.positions, row.targets, row.weights, row.starts)
    with document_kernel(model):
        difference = logits(model, batch("s", "p", [row])) - logits(model, batch("s", "p", [changed]))
    assert row.positions[gap] - row.positions[gap - 1] > 1
    assert difference[0, gap:].abs().max() > 1e-3


def test_mixed_plans_are_read_back_in_a_run(model: Any) -> None:
    """Short sequences see the original model's cos and sin to the bit, long ones the plan's."""
    spec = spec_from_config(model.config)
    long_plan = RopePlan.rescaled(spec, [4.0] * len(spec.inv_freq), 1.3)
    short = batch("short", "original", [pack(texts(SIZES), 128, masked=True)])
    long = batch("long", "planned", [pack(texts((200,)), 128, masked=False)])
    with torch.no_grad():
        x = torch.zeros(1, 1, 8)
        original = [model.base_model.rotary_emb(x, one.positions_BS) for one in (short, long)]
    seen: list[Any] = []
    with applied(model, spec) as rotary, document_kernel(model):
        plans = Plans(rotary, {"original": RopePlan.as_trained(spec), "planned": long_plan})
        hook = model.base_model.rotary_emb.register_forward_hook(lambda *given: seen.append(given[2]))
        for one in (long, short, long):
            plans(one)
            seen.clear()
            Objective(model)(one)
            cos, sin = seen[-1]
            if one is short:
                assert torch.equal(cos, original[0][0]) and torch.equal(sin, original[0][1])
            else:
                phase = one.positions_BS[0, :, None] * torch.tensor(long_plan.inv_freq)
                assert torch.allclose(cos[0, :, :4], phase.cos() * 1.3, atol=1e-4)
                assert not torch.allclose(cos, original[1][0], atol=1e-2)
        hook.remove()
        plans.prove_again()
    assert {name: proof["length"] for name, proof in plans.proofs.items()} == {
        "short, original": 81,  # documents of 40, 7 and 81 tokens
        "long, planned": 128,
    }
