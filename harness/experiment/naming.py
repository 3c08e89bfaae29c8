"""Which method does a name mean? A name, or a path that ends in `.py`: the one rule of files and commands."""

import os
from collections.abc import Sequence
from pathlib import Path

import extenders.base
from extenders.base import Extender
from harness.experiment.parameters import hint


def user_folders(folder: Path | None = None, listed: tuple[str, ...] = ()) -> list[Path]:
    """Where methods outside the package are looked up: beside the file, the listed folders, $ROPEBENCH_EXTENDERS."""
    beside = [] if folder is None else [folder, *(folder / path for path in listed)]
    named = [Path(path) for path in os.environ.get("ROPEBENCH_EXTENDERS", "").split(os.pathsep) if path]
    return list(dict.fromkeys(path.resolve() for path in beside + named))


def load_method(where: str, name: object, folders: Sequence[Path] = (), beside: Path = Path()) -> type[Extender]:
    """A method's class, by the one rule for naming a method: a name, or a path that ends in `.py`.

    Names are those of the package and of the files in `folders`; a path is relative to the folder `beside`. Raises
    ValueError for an unknown name, a path that leads to no file, and a file that does not define one method.
    """
    path = check_name(where, name, folders, beside)
    return extenders.base.load(path.stem, [path.parent]) if path else extenders.base.load(str(name), folders)


def check_name(where: str, name: object, folders: Sequence[Path] = (), beside: Path = Path()) -> Path | None:
    """The file that a path names, or None for a name; no code of it is run. Raises ValueError for an unknown name and a
    path that leads to no file that can be a method."""
    if not isinstance(name, str) or not name.endswith(".py"):
        known = extenders.base.names(folders)
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"{where}: no extender is named {name!r}; {hint(name, known)}")
        return None
    path = beside / Path(name).expanduser()
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{where}: the file of a method {path} {reason}; give a .py file, or a name without .py")
    if not path.stem.isidentifier() or path.stem.startswith("_"):
        raise ValueError(
            f"{where}: {path} cannot name a method; name the file with letters, digits and _, a letter first"
        )
    return path


def users_file(where: str, name: object, folders: Sequence[Path] = (), beside: Path = Path()) -> Path | None:
    """The file of a user that a method's name means, whose code `load_method` would run; None for a shipped method."""
    path = check_name(where, name, folders, beside)
    if path is not None or str(name) in extenders.base.names():
        return path
    return next((folder / f"{name}.py" for folder in folders if (folder / f"{name}.py").is_file()), None)


def label_of(name: str) -> str:
    """What tables call a method that a user named so: its name, or the stem of its file."""
    return Path(name).stem if name.endswith(".py") else name
