"""The training's own data set is not read: files, generators and counters are as they were, the weights the same."""

import functools
import gc
import itertools
import multiprocessing
import os
import sqlite3
import sys
import tarfile
import time
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info, random_split

from house.trainings import Net, trainer
from lightning_cam import CAMCallback, Probe
from lightning_cam.datasets import apart
from lightning_cam.datasets.copying import copy_of


@pytest.fixture(autouse=True)
def _files_of_data_sets_are_closed() -> Iterator[None]:
    """Data sets here leave files open, as people's do; the garbage collector would say so in a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# The data sets leave their files open, as users' do.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
N, SIDE = 96, 8
RAW = np.random.default_rng(0).integers(0, 256, (N, 3, SIDE, SIDE), dtype=np.uint8)


class Drawn(Dataset[Any]):
    """Pictures, and a label that only reading tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pixels(index), index % 2

    def pixels(self, index: int) -> Tensor:
        return torch.from_numpy(RAW[index]).float() / 255


class Zip(Drawn):
    """Opened at the first item, so that every worker has a file of its own."""

    file = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with zipfile.ZipFile(folder / "a.zip", "w") as file:
            for index in range(N):
                file.writestr(str(index), RAW[index].tobytes())

    def pixels(self, index: int) -> Tensor:
        self.file = self.file or zipfile.ZipFile(self.folder / "a.zip")
        read = np.frombuffer(self.file.read(str(index)), np.uint8).reshape(3, SIDE, SIDE)
        return torch.from_numpy(read.copy()).float() / 255


class Tar(Drawn):
    file = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with tarfile.open(folder / "a.tar", "w") as file:
            for index in range(N):
                entry = tarfile.TarInfo(str(index))
                entry.size = RAW[index].nbytes
                file.addfile(entry, BytesIO(RAW[index].tobytes()))

    def pixels(self, index: int) -> Tensor:
        self.file = self.file or tarfile.open(self.folder / "a.tar")  # noqa: SIM115 - stays open, as users' do
        read = np.frombuffer(self.file.extractfile(str(index)).read(), np.uint8).reshape(3, SIDE, SIDE)
        return torch.from_numpy(read.copy()).float() / 255


class Sqlite(Drawn):
    file = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with sqlite3.connect(folder / "a.db") as file:
            file.execute("create table items (i integer primary key, x blob)")
            file.executemany("insert into items values (?, ?)", [(i, RAW[i].tobytes()) for i in range(N)])

    def pixels(self, index: int) -> Tensor:
        self.file = self.file or sqlite3.connect(self.folder / "a.db")
        (read,) = self.file.execute("select x from items where i = ?", (index,)).fetchone()
        return torch.from_numpy(np.frombuffer(read, np.uint8).reshape(3, SIDE, SIDE).copy()).float() / 255


class Lmdb(Drawn):
    """Opened at the first item."""

    file = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with (
            pytest.importorskip("lmdb").open(str(folder / "lmdb"), map_size=2**24) as file,
            file.begin(write=True) as t,
        ):
            for index in range(N):
                t.put(str(index).encode(), RAW[index].tobytes())

    def pixels(self, index: int) -> Tensor:
        if self.file is None:
            self.file = pytest.importorskip("lmdb").open(str(self.folder / "lmdb"), readonly=True, lock=False)
        with self.file.begin() as transaction:
            read = np.frombuffer(transaction.get(str(index).encode()), np.uint8).reshape(3, SIDE, SIDE)
            return torch.from_numpy(read.copy()).float() / 255


class Hdf5(Drawn):
    """Opened when it is made, which only works without workers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        h5py = pytest.importorskip("h5py")
        with h5py.File(folder / "a.h5", "w") as file:
            file["x"] = RAW
        self.file = h5py.File(folder / "a.h5", "r")

    def pixels(self, index: int) -> Tensor:
        return torch.from_numpy(self.file["x"][index]).float() / 255


class OpenZip(Zip):
    """Opened when it is made, which only works without workers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = zipfile.ZipFile(folder / "a.zip")


class Generator(Drawn):
    """A generator of its own, as albumentations' Compose and MONAI's transforms have."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rng = np.random.default_rng(0)

    def pixels(self, index: int) -> Tensor:
        noise = torch.from_numpy(self.rng.normal(0, 0.1, (3, SIDE, SIDE))).float()
        return (super().pixels(index) + noise).clamp(0, 1)


class Albumented(Drawn):
    """Random augmentations of albumentations, whose Compose has a generator of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with patch.dict(
            os.environ, NO_ALBUMENTATIONS_UPDATE="1"
        ):  # else the import asks the network; OpenCV's adds paths
            made = pytest.importorskip("albumentations")
        self.transform = made.Compose([made.HorizontalFlip(p=0.5), made.RandomBrightnessContrast(p=0.9)], seed=0)

    def pixels(self, index: int) -> Tensor:
        image = self.transform(image=np.ascontiguousarray(RAW[index].transpose(1, 2, 0)))["image"]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


class Counter(Drawn):
    """A curriculum that counts the items that it has given."""

    n_given = 0

    def pixels(self, index: int) -> Tensor:
        self.n_given += 1
        return super().pixels(index) * min(1.0, 0.3 + self.n_given / 300)


class Closure(Drawn):
    """State that no attribute holds."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(0)
        self.noise = lambda: torch.from_numpy(rng.normal(0, 0.1, (3, SIDE, SIDE))).float()

    def pixels(self, index: int) -> Tensor:
        return (super().pixels(index) + self.noise()).clamp(0, 1)


class Property(Zip):
    """Asked for its labels, it opens its file."""

    @property
    def targets(self) -> list[int]:
        self.pixels(0)
        return [index % 2 for index in range(N)]


def weights(
    folder: Path, kind: type[Drawn], callbacks: list[Any], *, shuffles: bool = False, **options: Any
) -> dict[str, Tensor]:
    folder.mkdir()
    torch.manual_seed(0)
    data = kind(folder)
    train, val = random_split(data, [N - 32, 32], torch.Generator().manual_seed(0))
    model = Net()
    run = trainer(folder, *callbacks, max_epochs=2, num_sanity_val_steps=0)
    run.fit(model, DataLoader(train, 8, shuffle=True, **options), DataLoader(val, 8, shuffle=shuffles, **options))
    return model.state_dict()


def assert_untouched(folder: Path, kind: type[Drawn], **options: Any) -> None:
    callback = CAMCallback(trials=(), every_n_epochs=1, sinks=[])
    alone = weights(folder / "alone", kind, [], **options)
    watched = weights(folder / "watched", kind, [callback], **options)

    assert len(callback.history) == 3
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


@pytest.mark.skipif(sys.platform != "linux", reason="reads from a copy, which has no copy of closures and open files")
@pytest.mark.parametrize(
    "kind", [Zip, Tar, Sqlite, Lmdb, Hdf5, OpenZip, Generator, Albumented, Counter, Closure, Property]
)
def test_a_training_without_workers_is_the_same(kind: type[Drawn], tmp_path: Path) -> None:
    assert_untouched(tmp_path, kind)


@pytest.mark.skipif(sys.platform != "linux", reason="reads from a copy, which has no copy of closures and open files")
@pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled")
@pytest.mark.parametrize("kind", [Zip, Generator, Counter])
def test_a_training_with_shuffled_validation_is_the_same(kind: type[Drawn], tmp_path: Path) -> None:
    """The items of its batches are not known, so the comparison of the probe with a batch reads some of its own."""
    assert_untouched(tmp_path, kind, shuffles=True)


@pytest.mark.parametrize("kind", [Zip, Sqlite, Lmdb, Property])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_training_with_forked_workers_is_the_same(kind: type[Drawn], tmp_path: Path) -> None:
    assert_untouched(tmp_path, kind, num_workers=1, multiprocessing_context="fork", persistent_workers=kind is Zip)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Zip, Generator])
def test_a_training_with_spawned_workers_is_the_same(kind: type[Drawn], tmp_path: Path) -> None:
    assert_untouched(tmp_path, kind, num_workers=1, multiprocessing_context="spawn", persistent_workers=True)


@pytest.mark.parametrize("kind", [Generator, Albumented, Counter, Property, Zip])
def test_drawing_outside_a_training_reads_a_copy(kind: type[Drawn], tmp_path: Path) -> None:
    data = kind(tmp_path)
    before = [vars(data).copy(), data.rng.bit_generator.state if kind is Generator else None]

    first, second = Probe.from_dataset(data), Probe.from_dataset(data)

    assert before == [vars(data), data.rng.bit_generator.state if kind is Generator else None]
    assert first.fingerprint == second.fingerprint


def test_a_copy_shares_what_is_large() -> None:
    class Large:
        def __init__(self) -> None:
            self.table = torch.zeros(2**20)
            self.paths = ["a"] * 10_001
            self.state = {"n": [0]}

    data = Large()

    twin = copy_of(data)

    assert twin.table is data.table
    assert twin.paths is data.paths
    assert twin.state["n"] is not data.state["n"]


# ---- as the training's workers read ----------------------------------------------------------------------------------


def start(worker: int) -> None:
    get_worker_info().dataset.begun = True


class Begun(Drawn):
    begun = False

    def pixels(self, index: int) -> Tensor:
        assert self.begun, "worker_init_fn was not called with this data set"
        return super().pixels(index)


def read_item(dataset: Any, index: int) -> int:
    return int(dataset[index][1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_workers_begin_as_the_trainings_do(tmp_path: Path) -> None:
    data = Begun(tmp_path)
    loader = DataLoader(data, 8, num_workers=2, multiprocessing_context="fork", worker_init_fn=start)

    assert list(apart.Source(data, loader).read(read_item, [0, 1, 2, 5])) == [0, 1, 0, 1]
    assert not data.begun


def test_reading_leaves_the_global_random_states_alone(tmp_path: Path) -> None:
    data = Drawn(tmp_path)
    before = torch.get_rng_state()

    for options in ({}, {"num_workers": 1, "multiprocessing_context": "fork"}):
        list(apart.Source(data, DataLoader(data, **options)).read(read_item, range(4)))

    assert torch.equal(torch.get_rng_state(), before)


class Unreadable(Drawn):
    def pixels(self, index: int) -> Tensor:
        raise KeyError("the user's own words")


@pytest.mark.parametrize("options", [{}, {"num_workers": 1}], ids=str)
def test_an_error_of_an_item_comes_out_as_it_is(options: dict[str, Any], tmp_path: Path) -> None:
    data = Unreadable(tmp_path)

    with pytest.raises(KeyError, match=r'^"the user\'s own words"$'):
        list(apart.Source(data, DataLoader(data, **options)).read(read_item, [0]))


class Stuck(Drawn):
    """As a fork that waits for a thread which is not there; its copy reads."""

    def pixels(self, index: int) -> Tensor:
        if apart.multiprocessing.parent_process() is not None:
            time.sleep(60)
        return super().pixels(index)


@pytest.mark.skipif(sys.platform != "linux", reason="forks nothing")
def test_a_process_that_is_stuck_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PATIENCE", 0.1)
    data = Stuck(tmp_path)

    assert list(apart.Source(data, DataLoader(data)).read(read_item, [3])) == [1]


class Pooled(Drawn):
    """Its items are read by a thread, as many do for remote files; a fork has no thread, and no copy can be made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pool = ThreadPoolExecutor(1)
        self.pool.submit(int).result()

    def pixels(self, index: int) -> Tensor:
        return self.pool.submit(super().pixels, index).result()


@pytest.mark.skipif(sys.platform != "linux", reason="forks nothing")
def test_a_fork_that_waits_for_a_thread_is_announced_given_up_and_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(apart, "UNNOTICED", 0.05)
    monkeypatch.setattr(apart, "FIRST_PATIENCE", 0.4)
    data, callback = Pooled(tmp_path), CAMCallback(trials=(), sinks=[])
    run = trainer(tmp_path, callback, num_sanity_val_steps=0, max_epochs=1)
    with pytest.warns(UserWarning, match=r"pass CAMCallback\(Probe.from_dataset\(dataset\)\), which forks none"):
        run.fit(Net(), DataLoader(data, 32), DataLoader(data, 32))

    assert run.global_step == 3
    assert "waiting for an item of the data set, which a process of its own reads" in capsys.readouterr().out
    assert len(Probe.from_dataset(data)) == 64
    data.pool.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="forks nothing")
def test_a_process_that_was_stuck_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PATIENCE", 0.5)
    data = Stuck(tmp_path)
    source = apart.Source(data, DataLoader(data))
    list(source.read(read_item, [0]))
    began = time.monotonic()
    list(source.read(read_item, [1]))

    assert time.monotonic() - began < 0.4


class Locking(Drawn):
    """Counts for all processes, and takes its time while it holds their lock."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(folder)
        self.count = multiprocessing.Value("i", 0)
        self.seconds = seconds

    def pixels(self, index: int) -> Tensor:
        with self.count.get_lock():
            self.count.value += 1
            if index:
                time.sleep(self.seconds)
        return super().pixels(index)


@pytest.mark.skipif(sys.platform != "linux", reason="forks nothing")
@pytest.mark.parametrize("seconds", [0.3, 60], ids=["until its item is read", "by an exception"])
def test_a_process_that_is_not_needed_any_more_gives_its_locks_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(apart, "LEAVING", 1.0 if seconds < 1 else 0.3)
    data = Locking(tmp_path, seconds)
    items = apart.Source(data, DataLoader(data)).read(read_item, [0, 1])
    next(items)
    while data.count.get_obj().value < 2:  # it holds the lock
        time.sleep(0.01)
    items.close()

    assert data.count.get_lock().acquire(timeout=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="forks nothing")
def test_a_process_that_is_stuck_gives_its_locks_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "FIRST_PATIENCE", 0.4)
    monkeypatch.setattr(apart, "LEAVING", 9.0)
    monkeypatch.setattr(apart.Source, "twin", None)
    data, began = Locking(tmp_path, 60), time.monotonic()

    with pytest.raises(TimeoutError, match=r"within 0 s by a process of its own"):
        list(apart.Source(data, DataLoader(data)).read(read_item, [1]))
    assert time.monotonic() - began < 5
    assert data.count.get_lock().acquire(timeout=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="forks nothing")
def test_a_process_ends_where_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that waits until the pipe has room: it would take the time in which it may leave."""
    monkeypatch.setattr(apart, "LEAVING", 9.0)
    data = Drawn(tmp_path)
    items = apart.Source(data, DataLoader(data)).read(lambda dataset, index: bytes(2**20), range(9))
    next(items)
    began = time.monotonic()
    items.close()

    assert time.monotonic() - began < 5


def test_progress_is_said_once_where_reading_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(apart.time, "monotonic", functools.partial(next, clock))
    lines: list[str] = []

    list(apart.Source(Drawn(tmp_path), None, lines.append).read(read_item, range(10)))

    assert lines == ["reading up to 10 items for the probe, which takes 7 s more at most"]


def test_the_start_of_a_worker_is_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.chain([0.0], itertools.count(30.0, 0.1))
    monkeypatch.setattr(apart.time, "monotonic", functools.partial(next, moments))
    lines: list[str] = []

    list(apart.Source(Drawn(tmp_path), None, lines.append).read(read_item, range(10)))

    assert not lines  # 0.8 s are left after the first item, not 270


class UsedUp(IterableDataset[Any]):
    """Can be read once, and not be copied."""

    def __init__(self) -> None:
        self.items = (index for index in range(5))

    def __iter__(self) -> Any:
        return self.items


def test_a_stream_is_not_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = UsedUp()
    monkeypatch.setattr(apart, "sys", SimpleNamespace(platform="darwin"))  # forks nothing

    with pytest.raises(TypeError, match="UsedUp cannot be copied, and reading it here would use it up"):
        next(apart.Source(stream, DataLoader(stream)).read(apart.item_at, [0]))
    assert list(stream) == [0, 1, 2, 3, 4]


@pytest.mark.skipif(sys.platform != "linux", reason="forks nothing")
def test_a_stream_is_read_by_a_process_of_our_own() -> None:
    stream = UsedUp()

    assert list(apart.Source(stream, DataLoader(stream)).read(apart.item_at, [1, 3, 5])) == [1, 3, None]
    assert list(stream) == [0, 1, 2, 3, 4]
