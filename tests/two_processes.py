"""One process of a training that two share; started by test_training_distributed.py, not collected by pytest.

python two_processes.py OUT [CONTEXT_PARALLEL]
RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set as torchrun sets them
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import fakes
import torch

from extenders.base import RopePlan
from extenders.training.loop import train
from extenders.training.processes import whole
from extenders.training.recipe import MIXED
from extenders.training.schedule import schedule
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.training.batches import TrainingBatches
from harness.training.context_parallel import split_of
from harness.training.corpus import Encoder, Texts
from harness.training.distributed import decoder_layers, shard, world
from harness.training.objective import Objective, Plans, document_kernel


def logits(objective: Objective, batch: Any) -> torch.Tensor:
    """What the head gives inside the objective's own forward pass."""
    caught: list[torch.Tensor] = []
    hook = objective.model.lm_head.register_forward_hook(lambda *given: caught.append(given[2].detach()))
    with torch.no_grad():
        objective(batch)
    hook.remove()
    return torch.cat(caught)


def texts() -> list[str]:
    import random

    rng = random.Random("texts of two processes")
    return ["".join(rng.choice("abcdefgh ") for _ in range(size)) for size in range(20, 190, 10)]


def main(out: Path, context_parallel: int = 1) -> None:
    torch.set_num_threads(1)
    with world() as here:
        model = fakes.tiny_llama().train()
        spec = spec_from_config(model.config)
        recipe = dataclasses.replace(MIXED, learning_rate=3e-3)
        source = Texts("texts", texts(), Encoder(fakes.byte_tokenizer()), 0)
        plan = schedule(recipe, 4000, 384, 64, 128)
        batches = TrainingBatches(plan, source, 64, 0, 128, here.rank, here.size, context_parallel)
        split = split_of(here.rank, here.size, context_parallel, model.config.num_attention_heads)
        planned = RopePlan.rescaled(spec, [2.0] * len(spec.inv_freq), 1.1)
        with applied(model, spec) as rotary, document_kernel(model):
            plans = Plans(rotary, {"original": RopePlan.as_trained(spec), "planned for 128": planned})
            objective = Objective(model)
            probe = TrainingBatches(plan, source, 64, 0, 128).at(0).batches[-1]
            rotary.use(planned)
            alone = logits(objective, probe)
            if here.size > 1:
                shard(objective, decoder_layers(model))
            difference = float((logits(objective, probe) - alone).abs().max())
            objective.split = split
            outcome = train(objective, batches, recipe, prepare=plans, half=False)
            weights = {name: whole(p).double().sum().item() for name, p in model.named_parameters()}
        sharded = sum(type(p).__name__ == "DTensor" for p in model.parameters())
        if here.first:
            content = {
                "losses": [point["loss"] for point in outcome.curve],
                "order": outcome.order,
                "weights": weights,
                "logits": difference,
                "sharded": sharded,
                "processes": here.size,
            }
            out.write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
