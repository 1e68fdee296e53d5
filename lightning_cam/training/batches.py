"""A real validation batch: which items of the data set are in it, and what arrived at the model's modules."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor, nn
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler

from ..attribution.arrivals import Arrivals, Enough
from ..attribution.calls import MOST_ROWS, Call, Replay
from ..attribution.chains import Passage, Passages, chains_in
from ..attribution.engine import placed
from ..attribution.guard import GENERATORS, switches_kept, untouched
from ..attribution.model_state import attributes_of, variables_of
from ..datasets.apart import Source, item_at

_TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_IN_ORDER = ("DistributedSampler", "UnrepeatedDistributedSampler")  # torch's, and Lightning's own of that shape


@dataclass(frozen=True, eq=False)
class RealBatch:
    """What a step of the user's own gave to the model.

    Attributes:
        calls: The first call of each module that was called, by name and in order; "" is the Lightning module.
        stems: For each network, the one to look at first, its first module with parameters that was given images.
            Empty where hooks saw none.
        n_trained: How many of them, from the first, the training changes; a frozen teacher is none of these.
        indices: Which items of the data set the images are; None where the order is not known.
        passages: The calls that the step itself made.
    """

    calls: Mapping[str, Call]
    stems: Mapping[str, str]
    n_trained: int
    indices: Sequence[int] | None
    passages: Sequence[Passage] = ()

    @property
    def stem(self) -> str | None:
        """Name of the first layer of the network to look at."""
        return next(iter(self.stems.values()), None)

    @property
    def at_stem(self) -> Tensor | None:
        """What arrived at the first layer with parameters."""
        return None if self.stem is None else self.calls[self.stem].largest

    @property
    def networks(self) -> list[str]:
        """The networks that may give the class scores."""
        return list(self.stems)[: max(1, self.n_trained)] or [name for name in self.calls if name][:1]

    @property
    def entries(self) -> list[tuple[str, Call]]:
        """Calls with images of the Lightning module, and of the networks that may give the class scores."""
        names = dict.fromkeys(["", *self.networks])
        calls = [(name, self.calls[name]) for name in names if name in self.calls]
        return [(name, call) for name, call in calls if call.images is not None]

    @property
    def ways(self) -> Mapping[tuple[str, ...], Replay]:
        """The ways from images through modules as in the step, by the names of these; those through several first."""
        chains = chains_in(self.passages, [name for name, _ in self.entries])
        ways: dict[tuple[str, ...], Replay] = {}
        for name, call in self.entries:
            ways |= {chain.names: chain for chain in chains if chain.name == name}
            ways[(name,)] = Replay(name, call)
        return ways


def seen_in(
    module: nn.Module, arrivals: Arrivals, indices: Sequence[int] | None, passages: Sequence[Passage] = ()
) -> RealBatch:
    """What arrived in a step of a Lightning module."""
    changed, chains = _trained_parameters(module), chains_in(passages, list(arrivals.stems))
    trained = []
    for stem in arrivals.stems:
        names = {stem, *(name for chain in chains if chain.name == stem for name in chain.names)}
        if changed & {id(p) for name in names for p in module.get_submodule(name).parameters()}:
            trained.append(stem)
    stems = {name: arrivals.stems[name] for name in dict.fromkeys([*trained, *arrivals.stems])}
    return RealBatch(arrivals.calls, stems, len(trained), indices, passages)


def _trained_parameters(module: nn.Module) -> set[int]:
    """Identities of the parameters that the training changes: those in an optimizer, or all where there is none."""
    optimizers = getattr(getattr(module, "_trainer", None), "optimizers", None) or ()
    stepped = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return {id(p) for p in module.parameters() if p.requires_grad and (not stepped or id(p) in stepped)}


class Catcher:
    """Catches the first batch that a fit validates on.

    Attributes:
        batch: The batch, None before it came.
    """

    def __init__(self) -> None:
        self.batch: RealBatch | None = None
        self._module: nn.Module | None = None
        self._arrivals: Arrivals | None = None
        self._passages: Passages | None = None
        self._indices: Sequence[int] | None = None

    @property
    def has_come(self) -> bool:
        """Whether anything has arrived since `begin`."""
        return self._arrivals is not None and bool(self._arrivals.calls)

    def begin(self, module: nn.Module, loaders: Any) -> None:
        """Before a step: hooks that note what arrives, unless there was a batch already."""
        if self.batch is None and self._arrivals is None:
            self._indices = first_items(next(loaders_in(loaders), None))
            self._module, self._arrivals, self._passages = module, Arrivals(module), Passages(module)

    def end(self) -> None:
        """After the step: the hooks are gone."""
        if self._arrivals is not None and self._passages is not None and self._module is not None:
            self._arrivals.close()
            self._passages.close()
            self.batch = seen_in(self._module, self._arrivals, self._indices, self._passages.made)
            self._module = self._arrivals = self._passages = None


def can_be_repeated(module: Any, loader: Any) -> bool:
    """Whether `batch_of` leaves all as it is.

    The hooks of a data module and the ``collate_fn`` may draw from no generator of their own, which would go on from
    another state. A ``training_step`` may step an optimizer, and is never repeated.
    """
    datamodule, collate = module.trainer.datamodule, getattr(loader, "collate_fn", None)
    if collate is None:  # a loader of the user's own
        return False
    hooks = [getattr(type(datamodule), name, None) for name in _TRANSFER_HOOKS]
    values = [
        value for function in (*hooks, collate, type(collate).__call__) for value in variables_of(function).values()
    ]
    values += [*attributes_of(datamodule).values(), *attributes_of(collate).values()]
    return not any(
        isinstance(each, tuple(GENERATORS)) for value in values for each in (value, *attributes_of(value).values())
    )


def batch_of(module: Any, loader: Any, indices: Sequence[int], stem: str | None = None) -> RealBatch:
    """What the user's validation step would give to the model for items of our choice; see `can_be_repeated`.

    It ends at the layer ``stem``, or at the model's first one. The loader's ``collate_fn``, the transfer hooks and the
    step run as they are written, and what they do to the module and to random states is undone.
    """
    items = list(Source(loader.dataset, loader).read(item_at, indices))
    with untouched(module), switches_kept(module), _rebound(module.trainer.datamodule), _rebound(loader.collate_fn):
        batch = module._apply_batch_transfer_handler(loader.collate_fn(items), device=module.device)
        with Arrivals(module, stops_at=stem or "", runs_eagerly=True) as arrivals, suppress(Enough):
            module.validation_step(batch, 0, **_second_loader(module))
    return seen_in(module, arrivals, indices)


@contextmanager
def _rebound(thing: Any) -> Iterator[None]:
    """Attributes of an object, such as a counter, are bound to what they were bound to before."""
    attributes = attributes_of(thing)
    before = dict(attributes)
    try:
        yield
    finally:
        attributes.clear()
        attributes.update(before)


def _second_loader(module: Any) -> dict[str, int]:
    """What a step wants to know where there are several loaders, and has no default for."""
    wanted = inspect.signature(module.validation_step).parameters.get("dataloader_idx")
    return {} if wanted is None or wanted.default is not inspect.Parameter.empty else {"dataloader_idx": 0}


def arrives(module: nn.Module, run: Callable[[Tensor], Any], inputs: Tensor) -> Mapping[str, Tensor]:
    """What arrives at each module, as far as `Arrivals` sees, when ``run`` is given ``inputs``.

    The model is the same afterwards.

    Raises:
        Exception: Whatever ``run`` raises.
    """
    with untouched(module), Arrivals(module, runs_eagerly=True) as arrivals:
        run(placed(module, inputs).clone())
    return {name: call.largest for name, call in arrivals.calls.items() if call.largest is not None}


def loaders_in(loaders: Any) -> Iterator[Any]:
    """Loaders with a data set, one by one: a trainer's may be in lists, dicts and Lightning's combined ones."""
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, (list, tuple)):
        for loader in loaders:
            yield from loaders_in(loader)
    elif hasattr(loaders, "iterables"):  # Lightning's CombinedLoader
        yield from loaders_in(loaders.iterables)
    elif getattr(loaders, "dataset", None) is not None:
        yield loaders


def first_items(loader: Any) -> Sequence[int] | None:
    """Indices of the items in a loader's first batch, as many as are kept; None where only drawing them would tell."""
    sampler, batches = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
    size = getattr(loader, "batch_size", None)
    if size is None or type(batches) is not BatchSampler:
        return None
    n = min(size, MOST_ROWS)
    if isinstance(sampler, SequentialSampler):
        return range(min(n, len(loader.dataset)))
    if isinstance(sampler, DistributedSampler) and type(sampler).__name__ in _IN_ORDER and not sampler.shuffle:
        return list(islice(iter(sampler), n))
    return None
