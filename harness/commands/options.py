"""Words of the command line that several commands share, written once: their help and what completes them.

The shell asks for completions at every press of a key, so nothing heavy is imported for them.
"""

from typing import Annotated

import typer


def method_names() -> list[str]:
    """For the shell. Files are completed by the shell itself."""
    from extenders.base import names
    from harness.experiment.naming import user_folders

    return names(user_folders())


def test_names() -> list[str]:
    from tasks.base import names

    return names()


def experiment_names() -> list[str]:
    from harness.experiment.file import shipped

    return list(shipped())


def model_names() -> list[str]:
    from harness.model.files import shipped_models

    return list(shipped_models())


def check_method(command: str, name: str) -> None:
    """Raises ValueError for a wrong name at once, before a command imports a model library."""
    from harness.experiment.naming import load_method, user_folders

    load_method(command, name, user_folders())


Method = Annotated[
    str,
    typer.Argument(
        help="A method, or the path of a .py file with one; see: ropebench list extenders.", autocompletion=method_names
    ),
]
Model = Annotated[
    str,
    typer.Option(help="Shipped model, local folder or hub name.", autocompletion=model_names),
]
ModelForConfiguration = Annotated[
    str,
    typer.Option(
        help="Shipped model, local folder or hub name; only its configuration is read.",
        autocompletion=model_names,
    ),
]
TargetLength = Annotated[int, typer.Option(help="Tokens that the method has to reach.")]
Parameters = Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the method; repeatable.")]
TrainedLength = Annotated[
    int | None, typer.Option(help="Trained length in tokens, where the configuration of the model says it wrong.")
]
Experiment = Annotated[
    str, typer.Argument(help="A file, or the name of a shipped experiment.", autocompletion=experiment_names)
]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto (the first GPU, else the CPU), cpu, cuda or cuda:1.")]
OtherModel = Annotated[str | None, typer.Option(help="Another model than the file's.", autocompletion=model_names)]
Tests = Annotated[
    list[str],
    typer.Argument(help="Tests or suites; see: ropebench list tests.", autocompletion=test_names),
]
