"""The commands that show masks on a page, and that judge again with what was saved there."""

import argparse
import shlex

from ..text import typed

_OPTIONS = ("model", "size", "mean", "std", "preprocess", "forward", "n", "expect", "attributes")  # as given
N_IMAGES = 128  # 64 of each of two classes; with 32 of each most verdicts are settled, and time grows with the number


def commands(options: argparse.Namespace) -> list[str]:
    """For the pictures of ``lightning-cam examine`` with these options; to be pasted in this order."""
    data = typed(options.data)
    look = ["lightning-cam masks", data, *_given(options, ("n",))]
    look += ["--masks", typed(options.masks)] if options.masks else []
    judge = ["lightning-cam examine", typed(options.checkpoint), "--data", data, *_given(options, _OPTIONS)]
    layers = [f"--layer {shlex.quote(name)}" for name in options.layer or ()]
    return [" ".join(look), " ".join([*judge, *layers, *["--unpickle"] * options.unpickle, "--masks masks.json"])]


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> list[str]:
    words = []
    for name in names:
        value = getattr(options, name)
        if value is None or value == [] or (name == "n" and value == N_IMAGES):
            continue
        words.append(shlex.join([f"--{name}", *map(str, value if isinstance(value, list) else [value])]))
    return words
