"""From a checkpoint and the name of a class to a model. A checkpoint is a pickle: it runs no code unless told to."""

import importlib
import inspect
import pickle
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..text import error_text, printable, shortened

LIBRARY = 'the whole file is imported: what trains, or reads the command line, belongs under if __name__ == "__main__":'
_LIGHTNING = ("lightning.pytorch", "pytorch_lightning")
_FIT = "fit"
_WEIGHTS = ("state_dict", "model_state_dict", "model")  # keys that scripts save the weights under, besides other things


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Modules in ``folder`` can be imported inside, as by ``python -m``."""
    place = str(folder)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        if place in sys.path:
            sys.path.remove(place)


class _FitError(BaseException):
    """A module trains while it is imported. No ``except Exception`` of the module's own stops this one."""


@contextmanager
def _as_library(name: str) -> Iterator[None]:
    """Inside, an imported script starts no training, and does not take the words of this command for its own."""

    def refuse(*_: object, **__: object) -> None:
        raise _FitError("Trainer.fit was called")

    trainers = [sys.modules[module].Trainer for module in _LIGHTNING if module in sys.modules]
    fits = [(trainer, trainer.fit) for trainer in trainers]
    words, sys.argv = sys.argv, [name]
    try:
        for trainer, _ in fits:
            setattr(trainer, _FIT, refuse)
        yield
    finally:
        sys.argv = words
        for trainer, fit in fits:
            setattr(trainer, _FIT, fit)


def named(path: str, flag: str) -> Any:
    """What ``path``, such as "package.module:Class", names.

    Raises:
        ValueError: The module cannot be imported, or has nothing of that name.
    """
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise ValueError(f"{flag} must be package.module:Name, got {path!r}")
    if Path(module_name).suffix == ".py":
        suggested = ".".join(Path(module_name).with_suffix("").parts)
        raise ValueError(f"{flag} takes a module, not a file; run it from the project's folder with {suggested}:{name}")
    try:
        with _as_library(module_name):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(f"{module_name!r} needs {error.name!r}, which is not installed") from error
        raise ValueError(f"there is no module {error.name!r} here; run it from the folder that has it") from error
    except _FitError as error:
        raise ValueError(f"importing {module_name!r} began to train, which was stopped; {LIBRARY}") from error
    except (Exception, SystemExit) as error:  # the user's module may do anything, such as to read the command line
        raise ValueError(f"importing {module_name!r} raised {_short(error)}; {LIBRARY}") from error
    if not hasattr(module, name):
        raise ValueError(f"module {module_name!r} has no {name!r}")
    return getattr(module, name)


def function_named(path: str, flag: str) -> Callable[..., Any]:
    """What `named` gives, if it can be called."""
    function = named(path, flag)
    if not callable(function):
        raise ValueError(f"{flag} must name a class or a function, {path!r} is {shortened(repr(function))}")
    return cast(Callable[..., Any], function)


def load_model(path: Path, build: Any, *, unpickle: bool = False) -> tuple[nn.Module, int, int]:
    """The model with the checkpoint's weights, on the CPU, and the step and the epoch that the checkpoint is of.

    Args:
        path: Written by Lightning, or with ``torch.save``: a state dict, or a dict that has one.
        build: A `LightningModule`, or a class or function that gives an ``nn.Module`` without arguments.
        unpickle: Whether the file may hold Python objects, which can run any code while they are loaded.

    Raises:
        ValueError: The message names the problem and the solution.
    """
    content = _content(path, unpickle=unpickle)
    entries = content if isinstance(content, Mapping) else {}
    of_lightning = hasattr(build, "load_from_checkpoint") and "pytorch-lightning_version" in entries
    model = _of_lightning(path, build, unpickle=unpickle) if of_lightning else _built(build, content, path)
    return model, _count(entries, "global_step"), _count(entries, "epoch")


def _content(path: Path, *, unpickle: bool) -> Any:
    """What the file holds. Without ``unpickle`` nothing but tensors, numbers and text is let through."""
    if path.is_dir():
        raise ValueError(
            f"checkpoint '{path}' is a folder; one of several files is made whole by "
            "python -m lightning.pytorch.utilities.consolidate_checkpoint"
        )
    if not path.is_file():
        raise ValueError(f"there is no checkpoint '{path}'")
    try:
        return torch.load(path, map_location="cpu", weights_only=not unpickle)
    except Exception as error:  # a broken file raises whatever its bytes lead to
        objects = re.findall(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else []
        if objects:
            raise ValueError(_holds_objects(path, objects[0])) from error
        raise ValueError(
            f"'{path}' cannot be read ({type(error).__name__}): it is damaged, or torch.save did not write it"
        ) from error


def _holds_objects(path: Path, name: str) -> str:
    return (
        f"checkpoint '{path}' holds Python objects ({name}), and to load them can run any code that is in the file; "
        "if you made the file or trust who did, pass --unpickle; else ask for a file of the weights alone"
    )


def _of_lightning(path: Path, build: Any, *, unpickle: bool) -> nn.Module:
    """As Lightning builds it, with the hyperparameters that it saved."""
    # Up to 2.5 Lightning has no such option, and hands everything else to the class.
    takes_it = "weights_only" in inspect.signature(build.load_from_checkpoint).parameters
    options = {"weights_only": not unpickle} if takes_it else {}
    name = getattr(build, "__name__", str(build))
    try:
        model = build.load_from_checkpoint(path.absolute(), map_location="cpu", **options)
    except Exception as error:
        if "loading state_dict" in str(error):
            raise ValueError(_does_not_fit(name, error)) from error
        raise ValueError(
            f"{name} could not be built from the hyperparameters in the checkpoint ({_short(error)}); give --model a "
            "function without arguments that returns the module, or train with self.save_hyperparameters()"
        ) from error
    return _checked(model, name)


def _built(build: Any, content: Any, path: Path) -> nn.Module:
    """Built without arguments, and given the weights."""
    name = getattr(build, "__name__", type(build).__name__)
    try:
        model = build()
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{name}() raised {_short(error)}; --model needs a class or a function that takes no arguments"
        ) from error
    model, weights = _checked(model, name), _weights(content, path)
    try:
        model.load_state_dict(_fitting(weights, model))
    except Exception as error:
        raise ValueError(_does_not_fit(name, error)) from error
    return model


def _checked(model: Any, name: str) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} gives an object of class {type(model).__name__}, and a torch module was expected")
    return model


def _weights(content: Any, path: Path) -> Mapping[str, Any]:
    """The state dict in what a file holds."""
    if isinstance(content, nn.Module):
        return content.state_dict()
    entries = content if isinstance(content, Mapping) else {}
    for candidate in (*(entries.get(key) for key in _WEIGHTS), entries):
        if isinstance(candidate, nn.Module):
            return candidate.state_dict()
        if isinstance(candidate, Mapping) and any(isinstance(value, Tensor) for value in candidate.values()):
            return candidate
    raise ValueError(f"'{path}' holds no weights; they were looked for under {', '.join(_WEIGHTS)}, and at the top")


def _fitting(weights: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """The weights under the model's own names.

    A wrapper puts a prefix before every name: "module." by DDP, "_orig_mod." by a compiler, "model." where the model is
    a part of a `LightningModule`. Only a prefix that serves every name is taken away.
    """
    own = list(model.state_dict())
    if not own or own[0] in weights:
        return weights
    prefixes = [key.removesuffix(own[0]) for key in weights if key.endswith(f".{own[0]}")]
    for prefix in prefixes:
        if all(f"{prefix}{key}" in weights for key in own):
            return {key: weights[f"{prefix}{key}"] for key in own}
    return weights


def _does_not_fit(name: str, error: Exception) -> str:
    return f"the checkpoint does not fit {name} ({_short(error)}); give the class that it was saved from"


def _count(entries: Mapping[str, Any], key: str) -> int:
    value = entries.get(key, 0)
    return value if isinstance(value, int) and value >= 0 else 0


def _short(error: BaseException) -> str:
    return printable(shortened(error_text(error)))
