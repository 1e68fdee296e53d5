"""Probes drawn from data sets of every shape that people have."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.datasets import FakeData, ImageFolder
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from house.tasks import Listed
from lightning_cam import LightningCAMWarning
from lightning_cam.probe import Normalize, Probe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 12
TO_TENSOR = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


def noise(index: int, n_channels: int = 3, size: tuple[int, int] = (SIZE, SIZE)) -> Tensor:
    return torch.rand(n_channels, *size, generator=torch.Generator().manual_seed(index))


def picture(index: int) -> Image.Image:
    return Image.fromarray((noise(index) * 255).byte().permute(1, 2, 0).numpy())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes with 10, 20 and 30 files of noise."""
    for number, name in enumerate(("cat", "dog", "eel")):
        (tmp_path / name).mkdir()
        for index in range(10 * (number + 1)):
            picture(100 * number + index).save(tmp_path / name / f"photo {index}.png")
    return tmp_path


class Reads:
    """Counts how often items are read, also those of a copy of the data set."""

    n = 0

    def __deepcopy__(self, memo: Any) -> "Reads":
        return self


class Items(Dataset[Any]):
    """A plain map-style data set."""

    def __init__(self, items: list[Any], transform: object = None) -> None:
        self.items, self.transform, self.reads = items, transform, Reads()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.reads.n += 1
        return self.items[index]


def labelled(n: int = 12, n_classes: int = 3) -> list[tuple[Tensor, int]]:
    return [(noise(index), index % n_classes) for index in range(n)]


def counts(probe: Probe) -> list[int]:
    return [Counter(probe.targets.tolist())[label] for label in range(len(probe.classes))]


# The choice


@pytest.mark.parametrize(
    "mode", [lambda: torch.device("meta"), torch.inference_mode], ids=["default device", "inference"]
)
def test_it_is_drawn_the_same_whatever_is_switched_on(folder: Path, mode: Callable[[], Any]) -> None:
    dataset = ImageFolder(folder, v2.Compose([*TO_TENSOR.transforms, v2.Normalize(MEAN, STD)]))
    expected = Probe.from_dataset(dataset, 6)
    with mode():
        probe = Probe.from_dataset(dataset, 6)
        files = Probe.from_folder(folder, 6)

    assert probe.fingerprint == expected.fingerprint
    assert not probe.images.is_inference()
    assert files.images.device.type == "cpu"


def test_classes_are_balanced(folder: Path) -> None:
    probe = Probe.from_dataset(ImageFolder(folder, TO_TENSOR), 30)

    assert counts(probe) == [10, 10, 10]
    assert probe.classes == ("cat", "dog", "eel")


def test_a_small_class_is_taken_whole_and_the_rest_filled_up(folder: Path) -> None:
    assert counts(Probe.from_dataset(ImageFolder(folder, TO_TENSOR), 50)) == [10, 20, 20]


def test_all_images_are_taken_where_there_are_fewer(folder: Path) -> None:
    assert len(Probe.from_dataset(ImageFolder(folder, TO_TENSOR), 1000)) == 60


def test_the_first_images_are_balanced_too(folder: Path) -> None:
    assert Probe.from_dataset(ImageFolder(folder, TO_TENSOR), 30).targets[:6].tolist() == [0, 1, 2, 0, 1, 2]


def test_with_more_classes_than_images_each_image_has_its_own_class() -> None:
    classes = [set(Probe.from_dataset(Items(labelled(60, 30)), 8, seed=seed).targets.tolist()) for seed in range(2)]

    assert [len(chosen) for chosen in classes] == [8, 8]
    assert classes[0] != classes[1]


def test_of_very_many_classes_some_have_images_enough_to_swap() -> None:
    few = [(noise(index), 100 + index) for index in range(40)]  # classes of one image
    probe = Probe.from_dataset(Items(labelled(600, 100) + few), 64)

    assert Counter(Counter(probe.targets.tolist()).values()) == {4: 16}
    assert max(probe.targets.tolist()) < 100
    assert len(set(Probe.from_dataset(Items(labelled(600, 100)), 200).targets.tolist())) == 100


@pytest.mark.parametrize(
    ("n_items", "side", "expected"),
    [
        (40, 8, 40),
        (200, 8, 64),
        (1000, 8, 125),
        (3000, 8, 256),
        (3000, 300, 124),
        (3000, 512, 64),
        (3000, 1024, 16),
        pytest.param(3000, 2048, 4, marks=pytest.mark.slow),
    ],
    ids=["few", "small", "an eighth", "many", "large images", "512 pixels", "1024 pixels", "2048 pixels"],
)
def test_without_a_number_an_eighth_is_drawn(n_items: int, side: int, expected: int) -> None:
    image = noise(0).expand(3, -1, -1)[:, :1, :1].expand(3, side, side)
    probe = Probe.from_dataset(Items([(image, index % 2) for index in range(n_items)]), None, find_masks=False)

    assert len(probe) == expected
    assert probe.targets.sum() == expected // 2


def test_the_seed_alone_decides(folder: Path) -> None:
    dataset = ImageFolder(folder, TO_TENSOR)
    first = Probe.from_dataset(dataset, 9)
    torch.rand(3)
    random.random()

    assert Probe.from_dataset(dataset, 9).fingerprint == first.fingerprint
    assert Probe.from_dataset(dataset, 9, seed=1).names != first.names


def test_names_come_from_class_and_file(folder: Path) -> None:
    probe = Probe.from_dataset(ImageFolder(folder, TO_TENSOR), 60)

    assert set(probe.names) == {f"{c}_photo_{i}" for c, n in (("cat", 10), ("dog", 20), ("eel", 30)) for i in range(n)}


def test_files_of_the_same_name_keep_different_names(tmp_path: Path) -> None:
    for place in ("a/x", "a/y"):
        (tmp_path / place).mkdir(parents=True)
        picture(len(place)).save(tmp_path / place / "1.png")

    assert Probe.from_dataset(ImageFolder(tmp_path, TO_TENSOR)).names == ("a_1", "a_1-2")


def test_names_without_files_are_class_and_index() -> None:
    assert set(Probe.from_dataset(Items(labelled(3))).names) == {"0_0", "1_1", "2_2"}


def test_listed_labels_are_used_without_reading_items() -> None:
    dataset = Items([(noise(index), index // 900) for index in range(1000)])
    dataset.targets = [index // 900 for index in range(1000)]  # type: ignore[attr-defined]  # as torchvision's have
    probe = Probe.from_dataset(dataset, 20)

    assert counts(probe) == [10, 10]
    assert dataset.reads.n == 20


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param({"targets": torch.arange(12) % 3}, id="targets, tensor"),
        pytest.param({"targets": torch.eye(3)[torch.arange(12) % 3]}, id="targets, one-hot"),
        pytest.param({"labels": np.arange(12) % 3}, id="labels, array"),
        pytest.param({"samples": [(f"{i}.png", i % 3) for i in range(12)]}, id="samples"),
        pytest.param({"imgs": [(f"{i}.png", i % 3) for i in range(12)]}, id="imgs"),
    ],
)
def test_labels_are_found_under_every_usual_name(listed: dict[str, Any]) -> None:
    dataset = Items(labelled())
    for name, values in listed.items():
        setattr(dataset, name, values)
    probe = Probe.from_dataset(dataset, 6)

    assert (counts(probe), dataset.reads.n) == ([2, 2, 2], 6)


@pytest.mark.parametrize("labels", [[0, 1], list("abcabcabcabc"), [0.5] * 12, [[1, 2]] * 12, None])
def test_labels_that_make_no_sense_are_passed_over(labels: object) -> None:
    dataset = Items(labelled())
    dataset.labels = labels  # type: ignore[attr-defined]

    assert counts(Probe.from_dataset(dataset, 6)) == [2, 2, 2]
    assert dataset.reads.n == 12


def test_class_names_that_do_not_cover_the_labels_are_passed_over() -> None:
    dataset = Items(labelled())
    dataset.classes = ["only"]  # type: ignore[attr-defined]

    assert Probe.from_dataset(dataset).classes == ("0", "1", "2")


def test_items_without_a_label_are_not_drawn() -> None:
    dataset = Items([(noise(index), index % 3 - 1) for index in range(12)])
    dataset.labels = [index % 3 - 1 for index in range(12)]  # type: ignore[attr-defined]  # STL10 marks them with -1

    assert counts(Probe.from_dataset(dataset, 8)) == [4, 4]


def test_a_target_transform_is_part_of_the_target(folder: Path) -> None:
    dataset = ImageFolder(folder, TO_TENSOR, target_transform=lambda label: int(label > 0))
    probe = Probe.from_dataset(dataset, 20)

    assert counts(probe) == [10, 10]
    assert probe.classes == ("0", "1")


def test_a_target_transform_that_keeps_the_classes_keeps_their_names(folder: Path) -> None:
    dataset = ImageFolder(folder, TO_TENSOR, target_transform=torch.tensor)

    assert Probe.from_dataset(dataset, 6).classes == ("cat", "dog", "eel")


def test_unlisted_labels_are_read_until_the_classes_are_covered() -> None:
    dataset = Items([(torch.zeros(1, 1, 1), index * 2 // 5000) for index in range(5000)])
    dataset.classes = ["a", "b"]  # type: ignore[attr-defined]
    probe = Probe.from_dataset(dataset, 10)

    assert counts(probe) == [5, 5]
    assert dataset.reads.n < 100


def test_reading_for_labels_has_a_limit() -> None:
    dataset = Items([(torch.zeros(1, 1, 1), 0)] * 5000)
    Probe.from_dataset(dataset, 10)

    assert dataset.reads.n == 256


@pytest.mark.parametrize(("every", "most"), [(2, 300), (50, 500)], ids=["two classes", "a rare class"])
def test_labels_of_nobody_knows_how_many_classes_are_read_until_those_seen_have_their_share(
    every: int, most: int
) -> None:
    dataset = Items([(torch.zeros(1, 1, 1), int(i % every == 0)) for i in range(2000)])
    probe = Probe.from_dataset(dataset, None)

    assert len(probe) == 250
    assert most - 50 < dataset.reads.n <= most
    assert probe.classes == ("0", "1")


# Data sets of every shape


def test_subsets_of_subsets_are_looked_through(folder: Path) -> None:
    whole = ImageFolder(folder, v2.Compose([*TO_TENSOR.transforms, v2.Normalize(MEAN, STD)]))
    whole.loader = counting = CountingLoader(whole.loader)
    half, _ = random_split(whole, [0.5, 0.5], generator=torch.Generator().manual_seed(0))
    part = Subset(half, torch.arange(0, 30, 2))  # type: ignore[arg-type]  # people pass tensors
    probe = Probe.from_dataset(part, 6)

    assert counting.calls == 6
    assert counts(probe) == [2, 2, 2]
    assert probe.classes == ("cat", "dog", "eel")
    assert probe.preprocess == Normalize(MEAN, STD)
    allowed = {f"{whole.classes[whole.targets[i]]}_photo_{Path(whole.samples[i][0]).stem[6:]}" for i in half.indices}
    assert set(probe.names) <= allowed


class CountingLoader:
    def __deepcopy__(self, memo: Any) -> "CountingLoader":
        return self

    def __init__(self, loader: Callable[[Any], Any]) -> None:
        self.loader, self.calls = loader, 0

    def __call__(self, path: Any) -> Any:
        self.calls += 1
        return self.loader(path)


def test_a_concatenation_is_looked_through(folder: Path) -> None:
    normalized = ImageFolder(folder, v2.Compose([*TO_TENSOR.transforms, v2.Normalize(MEAN, STD)]))
    both = ConcatDataset([Subset(normalized, range(10)), Subset(normalized, range(10, 60))])
    probe = Probe.from_dataset(both, 9)

    assert counts(probe) == [3, 3, 3]
    assert probe.classes == ("cat", "dog", "eel")
    assert probe.preprocess == Normalize(MEAN, STD)
    assert all("photo" in name for name in probe.names)


def test_a_tensor_dataset_is_a_data_set() -> None:
    images = torch.stack([noise(index) for index in range(12)])
    probe = Probe.from_dataset(TensorDataset(images, torch.arange(12) // 4), 12)

    assert counts(probe) == [4, 4, 4]
    assert all(torch.equal(probe.images[i], images[int(probe.names[i].split("_")[1])]) for i in range(12))


def test_the_labels_of_a_tensor_dataset_are_listed() -> None:
    probe = Probe.from_dataset(TensorDataset(torch.zeros(3000, 1, 1, 1), (torch.arange(3000) > 2990).long()), 8)

    assert counts(probe) == [4, 4]


def test_fake_data_is_a_data_set() -> None:
    dataset = FakeData(40, (3, SIZE, SIZE), num_classes=4, transform=v1.ToTensor())
    probe = Probe.from_dataset(dataset, 8)

    assert counts(probe) == [2, 2, 2, 2]


class Wrapped(Dataset[Any]):
    """How people give the two halves of a random split different transforms."""

    def __init__(self, subset: Any, transform: Callable[[Any], Any]) -> None:
        self.subset, self.transform = subset, transform

    def __len__(self) -> int:
        return len(self.subset)

    def __getitem__(self, index: int) -> Any:
        image, target = self.subset[index]
        return self.transform(image), target


def test_a_wrapper_around_a_subset_is_looked_through(folder: Path) -> None:
    inner = ImageFolder(folder)
    inner.loader = counting = CountingLoader(inner.loader)
    steps = v2.Compose([*TO_TENSOR.transforms, v2.Normalize(MEAN, STD)])
    probe = Probe.from_dataset(Wrapped(Subset(inner, range(60)), steps), 6)

    assert (counting.calls, counts(probe)) == (6, [2, 2, 2])
    assert probe.classes == ("cat", "dog", "eel")
    assert probe.preprocess == Normalize(MEAN, STD)


BYTES = (noise(1) * 255).byte()


@pytest.mark.parametrize(
    "item",
    [
        pytest.param((BYTES.float() / 255, 1), id="float tensor"),
        pytest.param((BYTES.double() / 255, 1), id="double tensor"),
        pytest.param((BYTES, 1), id="byte tensor"),
        pytest.param((tv_tensors.Image(BYTES), 1), id="tv tensor"),
        pytest.param((BYTES.numpy(), 1), id="array"),
        pytest.param((BYTES.to(torch.int32).mul(257).to(torch.uint16), 1), id="16 bit tensor"),
        pytest.param((v2.functional.to_pil_image(BYTES), 1), id="PIL"),
        pytest.param([BYTES, 1], id="list"),
        pytest.param((BYTES, 1, "extra"), id="three elements"),
        pytest.param((BYTES, torch.tensor(1)), id="0-dim target"),
        pytest.param((BYTES, torch.tensor([1])), id="target of one element"),
        pytest.param((BYTES, np.int64(1)), id="numpy target"),
        pytest.param((BYTES, torch.tensor([0.0, 1.0, 0.0])), id="one-hot target"),
        pytest.param((BYTES, True), id="bool target"),
        pytest.param((BYTES, {"label": 1}), id="target in a dict"),
        pytest.param({"image": BYTES, "label": 1}, id="image, label"),
        pytest.param({"img": BYTES, "target": 1}, id="img, target"),
        pytest.param({"pixel_values": BYTES, "labels": 1}, id="pixel_values, labels"),
    ],
)
def test_an_item_may_look_like_this(item: Any) -> None:
    probe = Probe.from_dataset(Items([item]))

    assert probe.targets.tolist() == [1]
    torch.testing.assert_close(probe.images[0], BYTES.float() / 255, rtol=0, atol=1e-6)
    assert probe.preprocess is None


@pytest.mark.parametrize("mode", ["L", "1", "I;16"])
def test_a_grey_picture_has_one_channel(mode: str) -> None:
    assert Probe.from_dataset(Items([(Image.new(mode, (4, 5)), 0)])).images.shape == (1, 1, 5, 4)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_a_colour_picture_has_three_channels(mode: str) -> None:
    assert Probe.from_dataset(Items([(Image.new(mode, (4, 5)), 0)])).images.shape == (1, 3, 5, 4)


class HuggingFace:
    """What the data sets of Hugging Face look like from outside."""

    def __init__(self) -> None:
        self.column_names = ["image", "label"]
        self.features = {"image": None, "label": type("ClassLabel", (), {"names": ["cat", "dog"]})()}
        self.reads = Reads()

    def __len__(self) -> int:
        return 600

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return [index % 2 for index in range(600)]
        self.reads.n += 1
        return {"image": picture(key), "label": key % 2}


def test_columns_and_features_tell_labels_and_names() -> None:
    dataset = HuggingFace()
    probe = Probe.from_dataset(dataset, 6)

    assert (counts(probe), probe.classes, dataset.reads.n) == ([3, 3], ("cat", "dog"), 6)


class Stream(IterableDataset[Any]):
    """Items one after the other, with noise from a generator of its own. A copy of it counts apart."""

    def __init__(self, n: int = 24) -> None:
        self.n, self.n_read = n, 0

    def __iter__(self) -> Any:
        for index in range(self.n):
            self.n_read += 1
            yield noise(index), index % 3 % 2


class StreamWithLength(Stream):
    def __len__(self) -> int:
        return self.n


class NoTorch:
    """As streams of other packages."""

    def __iter__(self) -> Any:
        return iter(Stream())


class Named(Stream):
    classes = ("cat", "dog")

    def __iter__(self) -> Any:
        return ({"jpg": image, "cls": label} for image, label in super().__iter__())


@pytest.mark.parametrize("stream", [Stream(), StreamWithLength(), NoTorch(), Named()], ids=lambda s: type(s).__name__)
def test_a_probe_is_drawn_from_the_beginning_of_a_stream(stream: Any) -> None:
    probe = Probe.from_dataset(stream, 8)

    assert counts(probe) == [4, 4]
    assert all(any(torch.equal(image, noise(index)) for index in range(24)) for image in probe.images)
    assert probe.classes == (("cat", "dog") if isinstance(stream, Named) else ("0", "1"))
    assert probe.fingerprint == Probe.from_dataset(stream, 8).fingerprint
    assert getattr(stream, "n_read", 0) == 0


def test_a_stream_may_have_no_end() -> None:
    assert len(Probe.from_dataset(Stream(10**9))) == 64


class Endless(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return noise(index), 0


@pytest.mark.parametrize("dataset", [Endless(), iter([])], ids=["no length", "iterator"])
def test_what_cannot_be_indexed_is_refused_with_the_way_out(dataset: Any) -> None:
    with pytest.raises(TypeError, match=r"len\(\) and \[index\], or from .*; collect some images and build Probe\("):
        Probe.from_dataset(dataset)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        pytest.param([], "at least one image, got an empty data set", id="no items"),
        pytest.param([noise(0)], r"must be \(image, target, ...\) or a dict, got Tensor", id="an image alone"),
        pytest.param([{"drawing": 1, "label": 0}], "image must be under image or img or", id="no image key"),
        pytest.param([{"image": BYTES}], "label must be under label or target", id="no label key"),
        pytest.param([(BYTES, "cat")], "one class index, got 'cat'", id="a text as target"),
        pytest.param([(BYTES, torch.tensor([1, 2, 0]))], "one class index, got Tensor", id="several classes"),
        pytest.param(
            [(BYTES, [1, 1, 0]), (BYTES, [1, 1])], "as many 0/1 labels as the others, got 2 and 3", id="ragged"
        ),
        pytest.param([(BYTES, [1, -1]), (BYTES, [-1, 1])], "got no 0 but negative numbers", id="labels of -1 and 1"),
        pytest.param([("x.png", 0)], "tensor or a PIL image, item 0 has str", id="a path as image"),
        pytest.param([(BYTES[0], 0)], r"\(C, H, W\), item 0 has \(12, 12\)", id="2-D image"),
        pytest.param(
            [(BYTES.expand(4, *BYTES.shape), torch.arange(4))], "is a batch of 4, as for batch_size=None", id="batches"
        ),
        pytest.param(
            [(BYTES, i, i % 2) for i in range(9)], r"read=lambda item: \(item\[0\], item\[2\]\)", id="index, label"
        ),
        pytest.param([(BYTES.long(), 0)], "float or uint8, item 0 has torch.int64", id="integer image"),
        pytest.param([(torch.full((1, 2, 2), torch.nan), 0)], "finite, item 0 holds NaN", id="NaN"),
        pytest.param([(BYTES, -1)], "no item of the data set has a label from 0", id="no labels"),
        pytest.param([(noise(0), 0), (noise(1, 1), 0)], r"same channels, got \[1, 3\]", id="grey and colour"),
    ],
)
def test_a_wrong_item_is_refused_in_one_sentence(items: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Probe.from_dataset(Items(items))

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"n": 0}, "n must be at least 1 image, got 0", id="n"),
        pytest.param({"size": 224}, r"\(height, width\) in pixels such as \(224, 224\), got 224", id="size"),
        pytest.param({"masks": "masks/"}, "a folder or a file of masks was expected", id="a path"),
        pytest.param({"masks": [None]}, "masks must hold one entry or None per item, got 1 for 12", id="masks"),
        pytest.param({"boxes": [None]}, "boxes must hold one entry or None per item, got 1 for 12", id="boxes"),
        pytest.param({"masks": lambda _: torch.ones(3, 3)}, r"image's size \(12, 12\).*mask \(3, 3\)", id="mask size"),
        pytest.param({"masks": lambda _: torch.arange(144).view(12, 12)}, "two levels, got 0, 1, 2", id="mask levels"),
        pytest.param(
            {"masks": lambda _: square() * 2 + square(9, 9, 1)}, "two levels, got 0, 1, 2", id="mask of parts"
        ),
        pytest.param({"masks": lambda _: -square().int()}, "two levels, got -1, 0", id="negative mask"),
        pytest.param({"boxes": lambda _: torch.ones(3)}, r"x1, y1, x2, y2.*\(3,\)", id="box"),
        pytest.param({"classes": ["only"]}, "up to 2, but there are 1 classes", id="classes"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probe.from_dataset(Items(labelled()), **options)


@pytest.mark.parametrize("known", [{}, {"targets": [i % 2 for i in range(40)]}], ids=["read", "known"])
def test_items_of_none_are_passed_over(known: dict[str, Any]) -> None:
    """As many data sets give for a broken file, and a ``collate_fn`` leaves out."""
    data = Items([None if i % 4 == 2 else (noise(i), i % 2) for i in range(40)])
    vars(data).update(known)

    probe = Probe.from_dataset(data, 8)

    assert all(any(torch.equal(image, noise(i)) for i in range(40) if i % 4 != 2) for image in probe.images)
    assert len(probe) == (8 if not known else 6)  # labels that are known do not tell which items are there


def test_nothing_but_items_of_none_is_no_probe() -> None:
    with pytest.raises(ValueError, match="no item of the data set has a label from 0"):
        Probe.from_dataset(Items([None] * 5))


def test_a_file_that_a_data_set_cannot_read_is_named(folder: Path) -> None:
    broken = folder / "cat" / "photo 3.png"
    broken.write_bytes(broken.read_bytes()[:150])

    with pytest.raises(ValueError, match=r"item \d+ \(.*cat/photo 3.png\) cannot be read"):
        Probe.from_dataset(ImageFolder(folder, TO_TENSOR))


# Sizes


def test_images_of_several_sizes_name_the_way_out() -> None:
    dataset = Items([(noise(0, size=(8, 9)), 0), (noise(1, size=(10, 9)), 1)])

    with pytest.raises(ValueError, match=r"got \(8, 9\) and \(10, 9\); pass size=\(height, width\) or put a Resize"):
        Probe.from_dataset(dataset)


def test_size_brings_images_and_masks_to_one_size() -> None:
    left = torch.zeros(8, 10, dtype=torch.bool)
    left[:, :5] = True
    item = (left.float().expand(3, -1, -1).clone(), 0, tv_tensors.Mask(left))
    probe = Probe.from_dataset(Items([item, (noise(1, size=(5, 6)), 0)]), size=(4, 20))

    first = probe.names.index("0_0")
    assert probe.images.shape == (2, 3, 4, 20)
    assert probe.masks is not None
    assert torch.equal(probe.masks[first], (torch.arange(20) < 10).expand(4, 20))
    assert torch.equal(probe.images[first, 0, :, [0, -1]], torch.tensor([[1.0, 0.0]]).expand(4, 2))


def test_resized_images_are_what_torchvision_makes_of_them() -> None:
    expected = v2.functional.resize(noise(0, size=(30, 20)), [7, 11], antialias=True)
    probe = Probe.from_dataset(Items([(noise(0, size=(30, 20)), 0)]), size=(7, 11))

    torch.testing.assert_close(probe.images[0], expected, rtol=0, atol=1e-6)


# Nothing from outside, nothing left behind


class Augmented(Items):
    """Draws from all three global generators at each read."""

    def __getitem__(self, index: int) -> Any:
        image, target = super().__getitem__(index)
        return image * (torch.rand(1) + float(np.random.rand()) + random.random()) / 3, target


def world() -> tuple[Any, ...]:
    legacy = np.random.get_state()
    return random.getstate(), legacy[1].tolist(), legacy[2:], torch.get_rng_state().tolist()


@pytest.mark.parametrize("listed", [True, False], ids=["labels listed", "labels read"])
def test_random_states_are_as_before(listed: bool) -> None:
    dataset = Augmented(labelled())
    if listed:
        dataset.targets = [target for _, target in dataset.items]  # type: ignore[attr-defined]
    before = world()
    Probe.from_dataset(dataset, 6, masks=lambda _: torch.rand(SIZE, SIZE) > 0.5)

    assert world() == before


def test_random_states_are_as_before_when_reading_raises() -> None:
    class Broken(Augmented):
        def __getitem__(self, index: int) -> Any:
            super().__getitem__(index)
            raise KeyError(index)

    before = world()
    with pytest.raises(KeyError):
        Probe.from_dataset(Broken(labelled()))

    assert world() == before


def test_random_transforms_give_the_same_images_at_each_call() -> None:
    first = Probe.from_dataset(Augmented(labelled()), 6)
    torch.rand(1)
    random.random()
    np.random.rand()

    assert Probe.from_dataset(Augmented(labelled()), 6).fingerprint == first.fingerprint


def test_an_image_does_not_depend_on_what_else_is_read() -> None:
    silent, listing = Augmented(labelled()), Augmented(labelled())
    listing.targets = [target for _, target in listing.items]  # type: ignore[attr-defined]
    read, listed = Probe.from_dataset(silent, 12), Probe.from_dataset(listing, 6)

    assert (silent.reads.n, listing.reads.n) == (12, 6)
    assert all(torch.equal(listed.images[i], read.images[read.names.index(listed.names[i])]) for i in range(6))


def test_images_get_different_draws() -> None:
    same = Augmented([(torch.ones(1, 1, 1), 0)] * 5)

    assert len(set(Probe.from_dataset(same).images.flatten().tolist())) == 5


# What the model is given


NORMALIZED = {
    "v1": lambda: v1.Compose([v1.ToTensor(), v1.Normalize(MEAN, STD)]),
    "v2": lambda: v2.Compose([*TO_TENSOR.transforms, v2.Normalize(MEAN, STD)]),
    "nested": lambda: v2.Compose([TO_TENSOR, v2.Compose([v2.Compose([v2.Normalize(MEAN, STD)])])]),
    "v1 in v2": lambda: v2.Compose([TO_TENSOR, v1.Compose([v1.Normalize(MEAN, STD)])]),
    "sequential": lambda: v2.Compose([TO_TENSOR, nn.Sequential(v2.Normalize(MEAN, STD))]),
    "inplace": lambda: v1.Compose([v1.ToTensor(), v1.Normalize(list(MEAN), list(STD), inplace=True)]),
    "tensors": lambda: v1.Compose([v1.ToTensor(), v1.Normalize(torch.tensor(MEAN), torch.tensor(STD))]),
    "preset": lambda: ResNet18_Weights.DEFAULT.transforms(crop_size=SIZE, resize_size=SIZE),
    "ours": lambda: v2.Compose([TO_TENSOR, Normalize(MEAN, STD)]),
    "one number": lambda: v2.Compose([TO_TENSOR, v2.Normalize([0.5], [0.25])]),
    "twice": lambda: v2.Compose([TO_TENSOR, v2.Normalize([0.1], [0.9]), v2.Normalize(MEAN, STD)]),
}


@pytest.mark.parametrize("transform", NORMALIZED.values(), ids=NORMALIZED)
def test_a_normalize_is_inverted_and_the_way_back_gives_the_items(folder: Path, transform: Callable[[], Any]) -> None:
    dataset = ImageFolder(folder, transform())
    probe = Probe.from_dataset(dataset, 6)

    files = [Image.open(place_of(folder, name)) for name in probe.names]
    pixels = torch.stack([v1.functional.to_tensor(file) for file in files])
    items = torch.stack([dataset.transform(file) for file in files])
    torch.testing.assert_close(probe.images, pixels, rtol=0, atol=1e-6)
    torch.testing.assert_close(probe.inputs(), items, rtol=0, atol=1e-6)


def place_of(folder: Path, name: str) -> Path:
    class_name, stem = name.split("_", 1)
    return folder / class_name / f"{stem.replace('_', ' ')}.png"


def test_what_is_erased_after_a_normalize_is_shown_as_the_mean(folder: Path) -> None:
    steps = v2.Compose([TO_TENSOR, v2.Normalize(MEAN, STD), v2.RandomErasing(p=1)])
    probe = Probe.from_dataset(ImageFolder(folder, steps), 6)

    erased = probe.inputs()[0].abs().amax(0) < 1e-6
    assert erased.any()
    torch.testing.assert_close(probe.images[0][:, erased].mean(1), torch.tensor(MEAN))


def test_a_joint_transform_is_looked_into() -> None:
    normalize = v2.Normalize(MEAN, STD)
    dataset = Items([(normalize(noise(i)), 0) for i in range(3)])
    dataset.transforms = v2.Compose([normalize])  # type: ignore[attr-defined]  # detection data sets have it

    assert Probe.from_dataset(dataset).preprocess == Normalize(MEAN, STD)


def test_a_random_normalize_is_not_taken_for_one() -> None:
    dataset = Items(labelled(), transform=v2.RandomApply([v2.Normalize(MEAN, STD)]))

    assert Probe.from_dataset(dataset).preprocess is None


def test_a_normalize_that_is_not_applied_to_pictures_is_no_preprocess() -> None:
    dataset = Items([(picture(0), 0)], transform=v2.Normalize(MEAN, STD))

    assert Probe.from_dataset(dataset).preprocess is None


def test_noise_with_a_mean_and_a_deviation_is_no_normalize() -> None:
    class AddNoise:
        mean, std = 0.0, 0.1

    assert Probe.from_dataset(Items(labelled(), transform=AddNoise())).preprocess is None


def test_parts_with_different_normalizations_have_none_in_common() -> None:
    steps = [v2.Normalize([0.5], [deviation]) for deviation in (0.1, 0.2)]
    parts = [Items([(step(0.4 + 0.2 * noise(0)), 0)], transform=step) for step in steps]

    with pytest.warns(UserWarning, match="no Normalize"):
        probe = Probe.from_dataset(ConcatDataset(parts))
    for inputs, name in zip(probe.inputs(), probe.names, strict=True):
        torch.testing.assert_close(inputs, parts[int(name[-1])].items[0][0], rtol=0, atol=1e-6)


def test_a_normalize_for_other_channels_is_not_applied_to_these() -> None:
    probe = Probe.from_dataset(Items([(noise(0, 1), 0)], transform=v2.Normalize(MEAN, STD)))

    assert (probe.images.shape[1], probe.preprocess) == (1, None)


def unexplained() -> Items:
    """Normalised in a way that nothing in the data set tells."""
    return Items([(v2.Normalize(MEAN, STD)(noise(i)), i % 2) for i in range(6)])


def test_values_that_nothing_explains_are_stretched_with_one_warning() -> None:
    dataset = unexplained()
    with pytest.warns(UserWarning, match=r"from -2.*to 2.*pass preprocess=v2.Normalize\(mean, std\)") as caught:
        probe = Probe.from_dataset(dataset)

    assert len(caught) == 1
    assert caught[0].filename == __file__
    items = torch.stack([dataset.items[int(name.split("_")[1])][0] for name in probe.names])
    torch.testing.assert_close(probe.inputs(), items, rtol=0, atol=1e-6)
    assert probe.images.amin((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert probe.images.amax((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


def test_a_constant_channel_is_stretched_without_dividing_by_zero() -> None:
    with pytest.warns(UserWarning, match="no Normalize"):
        probe = Probe.from_dataset(Items([(torch.full((1, 2, 2), 7.0), 0)]))

    assert probe.inputs().flatten().tolist() == [7, 7, 7, 7]


def test_a_wrongly_recognised_normalize_is_not_believed() -> None:
    dataset = Items([(noise(i) * 9 - 4, 0) for i in range(3)], transform=v2.Normalize(MEAN, STD))

    with pytest.warns(UserWarning, match="no Normalize"):
        Probe.from_dataset(dataset)


def test_a_passed_normalize_explains_the_values() -> None:
    preprocess = v2.Normalize(MEAN, STD)
    probe = Probe.from_dataset(unexplained(), preprocess=preprocess)

    assert probe.preprocess is preprocess
    torch.testing.assert_close(probe.images[0], noise(int(probe.names[0].split("_")[1])), rtol=0, atol=1e-6)


def test_a_passed_preprocess_that_does_not_explain_the_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got values from -2.* pass the Normalize that the data set uses"):
        Probe.from_dataset(unexplained(), preprocess=torch.sqrt)


def test_a_passed_preprocess_wins_over_a_recognised_one(folder: Path) -> None:
    dataset = ImageFolder(folder, v2.Compose([*TO_TENSOR.transforms, v2.Normalize(MEAN, STD)]))

    assert Probe.from_dataset(dataset, 3, preprocess=torch.sqrt).preprocess is torch.sqrt


def test_a_passed_preprocess_stays_beside_pixels() -> None:
    probe = Probe.from_dataset(Items(labelled()), preprocess=v2.Normalize(MEAN, STD))

    torch.testing.assert_close(probe.inputs(), v2.Normalize(MEAN, STD)(probe.images))


# Masks


def square(top: int = 2, left: int = 3, size: int = 5) -> Tensor:
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[top : top + size, left : left + size] = True
    return mask


def drawn(values: Tensor) -> Image.Image:
    return Image.fromarray(values.byte().numpy())


def trimap() -> Tensor:
    """1 on the object, 2 around it, and 3 on the outline."""
    levels = torch.where(square(), 3, 2)
    levels[square(top=3, left=4, size=3)] = 1
    return levels.byte()


XYXY = torch.tensor([[3.0, 2.0, 8.0, 7.0]])
XYWH = torch.tensor([[3.0, 2.0, 5.0, 5.0]])


def boxes_of(values: Tensor, kind: str) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(values, format=kind, canvas_size=(SIZE, SIZE))


@pytest.mark.parametrize(
    ("item", "options", "source"),
    [
        pytest.param((BYTES, 0), {"masks": lambda _: square()}, "given", id="function"),
        pytest.param((BYTES, 0), {"masks": [square()]}, "given", id="sequence"),
        pytest.param((BYTES, 0), {"masks": square()[None]}, "given", id="tensor"),
        pytest.param((BYTES, 0), {"masks": [square().byte() * 255]}, "given", id="bytes"),
        pytest.param((BYTES, 0), {"masks": [square().numpy()]}, "given", id="array"),
        pytest.param((BYTES, 0), {"masks": [Image.fromarray(square().byte().numpy() * 255)]}, "given", id="PIL"),
        pytest.param((BYTES, 0, tv_tensors.Mask(square())), {}, "given", id="tv mask"),
        pytest.param((BYTES, (0, tv_tensors.Mask(square()))), {}, "given", id="torchvision, two types of target"),
        pytest.param((BYTES, (0, drawn(square()))), {}, "given", id="torchvision, two types of target as they are"),
        pytest.param((BYTES, (0, drawn(2 - square().byte()))), {}, "given", id="trimap of pets"),
        pytest.param((BYTES, 0, tv_tensors.Mask(trimap())), {}, "given", id="trimap with its outline"),
        pytest.param({"image": BYTES, "label": 0, "seg": square()[None]}, {}, "given", id="MONAI"),
        pytest.param({"image": BYTES, "label": 0, "object_mask": drawn(square())}, {}, "given", id="column of masks"),
        pytest.param((BYTES, 0, tv_tensors.Mask(square()[None].byte())), {}, "given", id="tv mask with a channel"),
        pytest.param((BYTES, 0, tv_tensors.Mask(torch.stack([square(), square(size=2)]))), {}, "given", id="two"),
        pytest.param({"image": BYTES, "label": 0, "mask": square()}, {}, "given", id="mask key"),
        pytest.param((BYTES, {"label": 0, "masks": square()[None]}), {}, "given", id="masks in the target"),
        pytest.param((BYTES, 0), {"boxes": [XYXY]}, "box", id="boxes"),
        pytest.param((BYTES, 0), {"boxes": [(3, 2, 8, 7)]}, "box", id="box of numbers"),
        pytest.param((BYTES, 0), {"boxes": lambda _: torch.cat([XYXY, XYXY])}, "box", id="two boxes"),
        pytest.param((BYTES, 0, boxes_of(XYXY, "XYXY")), {}, "box", id="tv boxes"),
        pytest.param((BYTES, 0, boxes_of(XYWH, "XYWH")), {}, "box", id="tv boxes as width and height"),
        pytest.param((BYTES, {"label": 0, "boxes": boxes_of(XYXY, "XYXY")}), {}, "box", id="tv boxes in the target"),
        pytest.param((BYTES, 0, boxes_of(XYXY, "XYXY"), tv_tensors.Mask(square())), {}, "given", id="mask first"),
        pytest.param((BYTES, 0), {"masks": [square() & False], "boxes": [XYXY]}, "box", id="box for an empty mask"),
        pytest.param((BYTES, 0, tv_tensors.Mask(square(0, 0))), {"masks": [square()]}, "given", id="argument first"),
    ],
)
def test_a_mask_comes_from(item: Any, options: dict[str, Any], source: str) -> None:
    probe = Probe.from_dataset(Items([item]), **options)

    assert probe.masks is not None
    assert torch.equal(probe.masks[0], square())
    assert probe.mask_sources == (source,)


@pytest.mark.filterwarnings("ignore:lightning_cam. no picture of the probe has a mask")
@pytest.mark.parametrize(
    ("item", "options"),
    [
        pytest.param((BYTES, 0), {}, id="nothing"),
        pytest.param((BYTES, 0), {"masks": lambda _: None}, id="None"),
        pytest.param((BYTES, 0), {"masks": [torch.zeros(SIZE, SIZE)]}, id="an empty mask"),
        pytest.param((BYTES, 0), {"boxes": [torch.zeros(0, 4)]}, id="no boxes"),
        pytest.param((BYTES, 0), {"boxes": [(50, 50, 60, 60)]}, id="a box outside"),
        pytest.param((BYTES, 0, "square"), {}, id="something else"),
        pytest.param({"image": BYTES, "label": 0, "seg": torch.arange(SIZE**2).view(SIZE, SIZE)}, {}, id="classes"),
        pytest.param({"pixel_values": BYTES, "labels": 0, "pixel_mask": square()}, {}, id="padding"),
    ],
)
def test_without_a_mask_the_mask_is_missing(item: Any, options: dict[str, Any]) -> None:
    probe = Probe.from_dataset(Items([item]), **options)

    assert (probe.masks, probe.mask_sources) == (None, ("none",))


def test_masks_belong_to_the_index_in_the_data_set() -> None:
    masks = [square(top=index % 6, left=index // 6) for index in range(12)]
    probe = Probe.from_dataset(Items(labelled()), masks=masks)

    assert probe.masks is not None
    assert all(torch.equal(probe.masks[i], masks[int(probe.names[i].split("_")[1])]) for i in range(12))


def test_a_transparent_picture_masks_itself() -> None:
    rgba = picture(0).convert("RGBA")
    rgba.putalpha(Image.fromarray(square().byte().numpy() * 255))
    probe = Probe.from_dataset(Items([(rgba, 0)]))

    assert probe.mask_sources == ("alpha",)
    assert probe.masks is not None
    assert torch.equal(probe.masks[0], square())
    torch.testing.assert_close(probe.images[0], v1.functional.to_tensor(picture(0)))


WHITE, BLACK, GREEN = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.1, 0.9, 0.2)


def on_plain(background: tuple[float, float, float], mask: Tensor) -> Tensor:
    """Noise that is not close to the background, in front of it."""
    image = torch.tensor(background, dtype=torch.float32).view(3, 1, 1).repeat(1, *mask.shape)
    inside = (0.25 * noise(3, size=(mask.shape[0], mask.shape[1])) + 0.35)[:, mask]
    image[:, mask] = inside
    return image


@pytest.mark.parametrize("background", [WHITE, BLACK, GREEN], ids=["white", "black", "green"])
def test_an_object_before_a_plain_background_is_found(background: tuple[float, float, float]) -> None:
    probe = Probe.from_dataset(Items([(on_plain(background, square()), 0)]))

    assert probe.mask_sources == ("border",)
    assert probe.masks is not None
    assert torch.equal(probe.masks[0], square())


def test_it_is_found_behind_a_normalize_too() -> None:
    normalize = v2.Normalize(MEAN, STD)
    probe = Probe.from_dataset(Items([(normalize(on_plain(WHITE, square())), 0)], transform=normalize))

    assert probe.masks is not None
    assert torch.equal(probe.masks[0], square())


def test_finding_masks_can_be_switched_off() -> None:
    assert Probe.from_dataset(Items([(on_plain(WHITE, square()), 0)]), find_masks=False).masks is None


def test_a_hole_belongs_to_the_object() -> None:
    ring = square(size=7) & ~square(4, 5, 3)
    probe = Probe.from_dataset(Items([(on_plain(WHITE, ring), 0)]))

    assert probe.masks is not None
    assert torch.equal(probe.masks[0], square(size=7))


def large(region: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(100), torch.arange(100), indexing="ij")
    return region(rows, columns)


DISC = large(lambda rows, columns: (rows - 50) ** 2 + (columns - 50) ** 2 < 30**2)
# 95.6 % of the image, and not quite a rectangle.
NOTCHED = torch.zeros(300, 300, dtype=torch.bool)
NOTCHED[1:-1, 1:-1] = True
NOTCHED[:57, :51] = False
DOUBTFUL = {
    "a photograph": noise(0, size=(100, 100)),
    "a plain image": torch.ones(3, 100, 100),
    "a gradient": torch.linspace(0, 1, 100).expand(3, 100, 100).clone(),
    "two colours": on_plain(WHITE, DISC).where(torch.arange(100) < 50, torch.tensor(0.0)),
    "an object over the edge": on_plain(WHITE, large(lambda rows, _: rows < 60)),
    "a speck": on_plain(WHITE, large(lambda rows, columns: (rows == 50) & (columns < 60) & (columns > 50))),
    "nearly everything": on_plain(WHITE, NOTCHED),
    "a frame": on_plain(WHITE, large(lambda r, c: (r > 8) & (r < 91) & (c > 8) & (c < 91))),
}


@pytest.mark.parametrize("image", DOUBTFUL.values(), ids=DOUBTFUL)
def test_in_doubt_there_is_no_mask(image: Tensor) -> None:
    assert Probe.from_dataset(Items([(image, 0)])).masks is None


@pytest.mark.parametrize(
    "names", [np.array(["cat", "dog"]), np.array(["cat", "dog"], dtype=object)], ids=["text", "object"]
)
def test_class_names_may_be_an_array(names: Any) -> None:
    dataset = TensorDataset(torch.rand(4, 3, 8, 8), torch.arange(4) % 2)
    dataset.classes = names  # type: ignore[attr-defined] # data sets carry names so

    assert Probe.from_dataset(dataset).classes == ("cat", "dog")


def test_class_names_may_be_a_tensor() -> None:
    dataset = TensorDataset(torch.rand(4, 3, 8, 8), torch.arange(4) % 2)
    dataset.classes = torch.tensor([10, 20])  # type: ignore[attr-defined] # data sets carry names so

    assert Probe.from_dataset(dataset).classes == ("10", "20")


# ---- usual forms of items --------------------------------------------------------------------------------------------


def test_an_item_may_begin_with_its_index_or_name() -> None:
    items = [(f"{i}.png", BYTES, i % 2) for i in range(4)]

    assert sorted(Probe.from_dataset(items).targets.tolist()) == [0, 0, 1, 1]


def test_bytes_with_channels_last_are_turned() -> None:
    turned = Probe.from_dataset([(np.asarray(BYTES.permute(1, 2, 0)), i) for i in range(2)])

    assert torch.equal(turned.images, Probe.from_dataset([(BYTES, i) for i in range(2)]).images)


@pytest.mark.parametrize("ignored", [255, -1, -100])
@pytest.mark.parametrize("kind", [list, lambda items: TensorDataset(*map(torch.stack, zip(*items, strict=True)))])
def test_items_whose_label_says_ignore_are_left_out(kind: Any, ignored: int) -> None:
    items = [(BYTES, torch.tensor(label)) for label in (0, 1, ignored, 1, 0, ignored)]

    assert sorted(Probe.from_dataset(kind(items)).targets.tolist()) == [0, 0, 1, 1]


def test_255_is_a_class_among_many() -> None:
    items = [(BYTES, label) for label in range(250, 256)]

    assert 255 in Probe.from_dataset(items).targets.tolist()


@pytest.mark.parametrize("keys", [("x", "y"), ("Image", "Class"), ("photo", "category"), ("inputs", "targets")])
def test_the_usual_names_of_image_and_label_are_known(keys: tuple[str, str]) -> None:
    image, label = keys
    probe = Probe.from_dataset(Listed([{image: torch.rand(3, 8, 8), label: i % 2} for i in range(8)]))

    assert sorted(probe.targets.tolist()) == [0] * 4 + [1] * 4


TWO_NUMBERS = "an item has two whole numbers beside its image, and the first was taken as its class"


def test_of_two_whole_numbers_the_choice_is_said() -> None:
    items = [(torch.rand(3, 8, 8), i // 2 % 2, i % 2) for i in range(16)]
    with pytest.warns(LightningCAMWarning, match=TWO_NUMBERS):
        Probe.from_dataset(Listed(items))


@pytest.mark.parametrize(
    ("items", "options"),
    [
        ([(torch.rand(3, 8, 8), i % 2, i) for i in range(16)], {}),
        ([(torch.rand(3, 8, 8), i % 2, 0) for i in range(16)], {}),
        ([(torch.rand(3, 8, 8), i % 2, i % 2) for i in range(16)], {}),
        ([(torch.rand(3, 8, 8), i // 2 % 2, i % 2) for i in range(16)], {"attributes": {"site": 2}}),
    ],
    ids=["an index", "a constant", "the class again", "a known site"],
)
def test_a_number_that_is_no_class_is_not_asked_about(items: list[Any], options: dict[str, Any]) -> None:
    assert len(Probe.from_dataset(Listed(items), **options)) == 16


@pytest.mark.parametrize("pair", [torch.rand(2, 3, 8, 8), (torch.rand(3, 8, 8), torch.rand(3, 8, 8))])
def test_two_pictures_in_an_item_are_told_how_to_be_read(pair: Any) -> None:
    with pytest.raises(ValueError, match=r"as in pairs of pictures; .*'rest': \{'other': item\[0\]\[1\]\}"):
        Probe.from_dataset(Listed([(pair, i % 2) for i in range(8)]))
