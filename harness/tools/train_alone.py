"""`ropebench train`: one method, one recipe, one seed, without an experiment; the same trainings as in a run.

Weights and record lie in a result store, where an experiment with the same settings finds them. Under torchrun the
processes share the training.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from extenders.training.recipe import RECIPES
from harness.experiment import parameters
from harness.experiment.file import named_method
from harness.experiment.trainings import parse_training
from harness.model.files import shipped_models
from harness.model.load import load_model, place_of, slow_in_half
from harness.store import Store, TrainingRecord
from harness.tools.saved_model import save_model as write_model
from harness.training.corpus import identity
from harness.training.distributed import world
from harness.training.job import in_precision, job_of
from harness.training.stage import as_trained
from harness.training.trainer import dtype_of, run_job
from harness.training.weights import WeightSwap, read_weights


def train_alone(
    extender: str,
    given: Mapping[str, Any],
    recipe: str,
    settings: Mapping[str, Any],
    model: str,
    target_length: int,
    out: Path,
    *,
    seed: int = 0,
    trained_length: int | None = None,
    device: str = "auto",
    save_model: Path | None = None,
    plan_in_configuration: bool = True,
    say: Callable[[str], None] = print,
) -> tuple[TrainingRecord, bool]:
    """(record of the training, whether the store had it): it is run unless it is finished. `given`: the method's
    parameters.

    `save_model`: also write the trained model, adapters merged, as a folder that transformers loads, with the plan in
    its configuration (`harness.tools.saved_model`). Raises ValueError for unknown names and for what cannot be trained.
    """
    if recipe not in RECIPES:
        raise ValueError(f"no training recipe is named {recipe!r}; {parameters.hint(recipe, RECIPES)}")
    training = parse_training(f"train: {recipe}", recipe, settings, Path(), model in shipped_models())
    training = in_precision(training, slow_in_half(place_of(device)))
    method = named_method("train", extender, given, target_length)
    with world() as here:
        if here.size > 1 and save_model is not None:
            raise ValueError("--save-model works in one process; the weights are in the store in any case")
        if here.first:
            say(f"loading {model}, to be trained with {training.label}: {training.settings.tokens:,} tokens")
        loaded = load_model(model, dtype=dtype_of(training), device=device, trained_length=trained_length)
        label = training.labelled(method.label)
        data = identity(training.settings.corpus)
        job = job_of(training, label, method.extender, loaded.weights_hash, loaded.spec, seed, data)
        store = Store.create(out) if here.first else Store(out)
        record = store.training(job.key)
        kept = record is not None and record["status"] == "done"
        if record is None or not kept:
            record = run_job(job, store, loaded.model, loaded.tokenizer, (), say)
        elif save_model is not None:
            WeightSwap(loaded.model).use(*read_weights(store.training_folder(job.key), record["weights"]["sha256"]))
        if save_model is not None and record["status"] == "done":
            tested = as_trained(method.extender, training)
            write_model(loaded, tested, label, save_model, say, plan_in_configuration)
    return record, kept
