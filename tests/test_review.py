"""A person looks at masks on a page, drags a box where an object sticks out, and the model is judged again."""

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import lightning.pytorch
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from house.browser import TELEPHONE, in_chromium, opened, width_on_a_telephone
from house.photographs import photographs
from house.trainings import Step, trainer
from lightning_cam import CAMCallback, Probe, examine, judge, maskers
from lightning_cam.cli import main
from lightning_cam.finished.kept import place_of_pictures
from lightning_cam.finished.review import page
from lightning_cam.maskers import as_annotations, consensus
from lightning_cam.maskers.reviewed import runs_of
from lightning_cam.probe import Normalize
from lightning_cam.sinks import FolderSink, Page
from lightning_cam.sinks.page import Run
from lightning_cam.training import reviewing

SIDE, N_OF_CLASS = 64, 12
TOP, BOTTOM = 18, 46  # of the objects, in columns 18 to 46 as well
HALF = 32
# Of the outline after each key: tighter, wider, undone, wider; and of the next picture after "right".
SIZES = [(12, 26), (14, 28), (12, 26), (14, 28), (14, 28)]


def picture(kind: int, seed: int) -> Image.Image:
    """An object whose lower half gives its class away, before noise that does not."""
    values = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) // 4 + 64
    values[TOP:BOTTOM, TOP:BOTTOM] = 128
    values[HALF:BOTTOM, TOP:BOTTOM, 0] = (0, 255)[kind]
    return Image.fromarray(values.astype(np.uint8))


def mask_of(top: int, bottom: int) -> Image.Image:
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[top:bottom, TOP:BOTTOM] = 255
    return Image.fromarray(values)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes, and beside them masks that leave out the lower half of the objects."""
    for index in range(2 * N_OF_CLASS):
        name = f"{'ab'[index % 2]}/{index}"
        for place, image in (("data", picture(index % 2, index)), ("masks", mask_of(TOP, HALF))):
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / place / f"{name}.png")
    return tmp_path / "data"


class Reddish(nn.Module):
    """Right by the objects alone: it looks at the red of the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.conv.weight.data = torch.tensor([[-1.0, 0.5, 0.5], [1.0, -0.5, -0.5]])[:, :, None, None]
        self.conv.bias.data.zero_()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.conv(images).mean((2, 3))
        return 60 * found


# A person corrects every picture by a drag over the lower half, with what a pointer sends; the last one is left out.
CORRECTING = """
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const blobs = [];
  const real = URL.createObjectURL.bind(URL);
  URL.createObjectURL = (blob) => { blobs.push(blob); return real(blob); };
  (async () => {
    await rest(50);
    const n = document.querySelectorAll(".probe").length;
    for (let i = 0; i < n; i += 1) {
      document.querySelectorAll(".probe button.view")[i].click();
      const view = document.querySelector("dialog .view"), { left, top, width, height } = view.getBoundingClientRect();
      const send = (to, kind, x, y) => to.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX: left + x * width, clientY: top + y * height }));
      send(view, "pointerdown", 18.5 / 64, 30 / 64);
      send(window, "pointermove", 0.5, 0.6);
      send(window, "pointerup", 45.5 / 64, 45.5 / 64);
      if (i === n - 1) document.querySelector("dialog input[type=checkbox]").click();
      document.querySelector("dialog [aria-label=close]").click();
    }
    [...document.querySelectorAll("button")].find((each) => each.textContent.includes("save masks.json")).click();
    document.body.dataset.saved = await blobs[0].text();
    document.body.dataset.said = document.querySelector(".saving p").textContent;
  })();
"""  # noqa: E501 - a line of another language


def driven(html: str, code: str) -> str:
    """The page with its policy, which lets through one script more."""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    allowed = html.replace("script-src ", f"script-src 'sha256-{digest}' ")
    return allowed.replace("</body>", f"<script>{code}</script></body>")


def dataset_of(dom: str, name: str) -> str:
    found = re.search(f'data-{name}="([^"]*)"', dom)
    assert found is not None
    return unescape(found[1])


def judged(data: Path, masks: Path) -> tuple[Probe, float, str]:
    """The probe, the reliance on the background, and what is said of it."""
    probe = Probe.from_folder(data, masks=masks)
    verdict = judge(examine(Reddish().eval(), probe, layer="conv"))
    background = next(each for each in verdict.measured if each.cue == "background")
    return probe, background.mean, " ".join(finding.cue for finding in verdict.findings)


@in_chromium
def test_a_box_that_is_dragged_changes_the_verdict(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "masks.html"
    html = page(data, 100, as_annotations(tmp_path / "masks"))
    file.write_text(driven(html, CORRECTING))
    dom, console = opened(file)
    saved = tmp_path / "masks.json"
    saved.write_text(dataset_of(dom, "saved"))

    _, before, accused = judged(data, tmp_path / "masks")
    probe, after, acquitted = judged(data, saved)
    assert console == []
    assert dataset_of(dom, "said").startswith("23 of 24 pictures will be used: 24 corrected, 1 left out, 0 without")
    assert probe.mask_sources == ("reviewed",) * 23
    assert probe.masks is not None
    assert probe.masks[:, TOP:BOTTOM, TOP:BOTTOM].all()
    assert probe.masks.float().mean() < 1.2 * ((BOTTOM - TOP) / SIDE) ** 2
    assert before > 0.5
    assert abs(after) < 0.05
    assert "background" in accused
    assert "background" not in acquitted


@pytest.mark.slow
@in_chromium
def test_nothing_is_in_the_console_and_nothing_is_cut_off_on_a_phone(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "masks.html"
    file.write_text(page(data, 4, None))
    _, console = opened(file)

    assert console == []
    assert width_on_a_telephone(file) <= TELEPHONE


KEYBOARD = """
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  (async () => {
    await rest(50);
    document.querySelector(".probe button.view").click();
    const [left, top, right, bottom] = document.querySelectorAll("dialog input[type=number]");
    Object.assign(left, { value: 25 }); top.value = 50; right.value = 75; bottom.value = 100;
    [...document.querySelectorAll("dialog button")].find((each) => each.textContent === "Add the box").click();
    const name = (each) => each.getAttribute("aria-label") || each.textContent.trim() || (each.labels && each.labels[0] && each.labels[0].textContent.trim());
    document.body.dataset.seen = JSON.stringify({
      said: document.querySelector("dialog [aria-live]").textContent,
      nameless: [...document.querySelectorAll("button, input, summary")].filter((each) => !name(each)).length,
      focus: document.activeElement.closest("dialog") !== null,
      tile: document.querySelector(".probe button.view").getAttribute("aria-label"),
    });
    document.querySelector("dialog [aria-label=close]").click();
    await rest(500);
    document.body.dataset.back = document.activeElement.getAttribute("aria-label");
  })();
"""  # noqa: E501 - a line of another language


@pytest.mark.slow
@in_chromium
def test_a_box_is_drawn_without_a_mouse(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "masks.html"
    file.write_text(driven(re.sub(r'"counts":\[[^\]]*\]', '"counts":[]', page(data, 4, None)), KEYBOARD))
    dom, console = opened(file)

    looked = json.loads(dataset_of(dom, "seen"))
    assert console == []
    assert looked["said"] == "The object takes 25\u00a0% of the picture."
    assert (looked["nameless"], looked["focus"]) == (0, True)
    assert looked["tile"].endswith("corrected; correct it")
    assert dataset_of(dom, "back") == looked["tile"]


KEYS = """
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const blobs = [], real = URL.createObjectURL.bind(URL);
  URL.createObjectURL = (blob) => { blobs.push(blob); return real(blob); };
  (async () => {
    await rest(50);
    const views = [...document.querySelectorAll(".probe button.view")], log = [];
    const said = () => document.querySelector("dialog [aria-live]").textContent.replaceAll("\u00a0", " ");
    const press = (key) => { document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })); log.push(said()); };
    const button = (text, within) => [...within.querySelectorAll("button")].find((each) => each.textContent === text).click();
    views[0].click();
    for (const key of "twuwr") press(key);
    press("o");
    document.querySelector("dialog [aria-label=close]").click();
    const [a, b] = document.querySelectorAll("section[aria-label]");
    button("All of this class are right", b);
    button("All tighter", b);
    button("All of this class are right", b);
    [...document.querySelectorAll("button")].find((each) => each.textContent.includes("save masks.json")).click();
    const labels = views.map((each) => each.getAttribute("aria-label").split(": ")[1].split(";")[0]);
    document.body.dataset.seen = JSON.stringify({ log, labels, headings: [a, b].map((each) => each.querySelector("h2").textContent),
      said: document.querySelector(".saving p").textContent });
    document.body.dataset.saved = await blobs[0].text();
  })();
"""  # noqa: E501 - lines of another language


@pytest.mark.slow
@in_chromium
def test_masks_are_reviewed_by_keys_and_by_whole_classes(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "masks.html"
    file.write_text(driven(page(data, 6, as_annotations(tmp_path / "masks")), KEYS))
    dom, console = opened(file)
    shares = [f"The object takes {round(100 * height * width / SIDE**2)} % of the picture." for height, width in SIZES]

    looked, saved = json.loads(dataset_of(dom, "seen")), json.loads(dataset_of(dom, "saved"))
    assert console == []
    assert looked["log"] == [*shares, "This picture is left out."]
    assert looked["headings"] == ["a: 3 pictures", "b: 3 pictures"]
    assert looked["labels"] == ["right", "left out", "from a folder of masks", "right", "right", "right"]
    assert looked["said"].startswith("5 of 6 pictures will be used: 4 corrected, 1 left out, 0 without a mask.")
    assert looked["said"].endswith("You called 4 right.")
    inside = {entry["file"][0]: sum(entry["counts"][1::2]) for entry in saved["pictures"] if entry["file"][0] == "b"}
    assert inside == {"b": SIZES[0][0] * SIZES[0][1]}


def review(data: Path, **changes: Any) -> dict[str, Any]:
    entry = {"file": "a/0.png", "size": [SIDE, SIDE], "grid": [2, 2], "counts": [1, 3], **changes}
    return {"form": "lightning_cam masks", "version": 1, "pictures": [entry]}


def test_only_what_was_reviewed_is_in_the_probe(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "masks.json"
    file.write_text(json.dumps(review(data)))
    probe = Probe.from_folder(data, masks=file)

    assert probe.names == ("a_0",)
    assert probe.masks is not None
    assert not probe.masks[0, : SIDE // 2, : SIDE // 2].any()
    assert probe.masks[0].float().mean() == 0.75
    assert Probe.from_folder(data, masks=file, size=(10, 20)).masks.float().mean() == 0.75  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            {"size": [SIDE, SIDE + 1]},
            "a/0.png had 64x65 pixels .* and has 64x64; review",
            id="size",
        ),
        pytest.param({"counts": [1, 2]}, "must have 4 pixels together", id="counts"),
        pytest.param({"counts": "x"}, "needs file, size, grid and counts, got", id="text"),
        pytest.param({"grid": [10**6, 10**6]}, "needs file, size, grid and counts, got", id="bomb"),
        pytest.param({"file": "../../etc/passwd"}, "no image has a mask in", id="another file"),
    ],
)
def test_a_review_that_does_not_fit_is_refused(
    data: Path, tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    file = tmp_path / "masks.json"
    file.write_text(json.dumps(review(data, **content)))

    with pytest.raises(ValueError, match=message):
        Probe.from_folder(data, masks=file)


def test_a_review_of_another_version_is_refused(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "masks.json"
    file.write_text(json.dumps({**review(data), "version": 2}))

    with pytest.raises(ValueError, match="version 1 of lightning_cam masks was expected; save it again"):
        Probe.from_folder(data, masks=file)


def test_a_saved_probe_is_reviewed_by_name(data: Path, tmp_path: Path) -> None:
    probe = Probe.from_folder(data, 6)
    probe.save(tmp_path / "probe")
    html = page(tmp_path / "probe", 100, None)
    content = review(data, file=probe.names[1])
    content["pictures"].append({**content["pictures"][0], "file": probe.names[4], "counts": [4]})
    file = tmp_path / "masks.json"
    file.write_text(json.dumps(content))
    reviewed = Probe.load(tmp_path / "probe").with_reviewed(file)

    assert all(f'"file":"{name}"' in html for name in probe.names)
    assert reviewed.names == (probe.names[1], probe.names[4])
    assert reviewed.mask_sources == ("reviewed", "none")
    assert torch.equal(reviewed.images, probe.images[[1, 4]])
    with pytest.raises(ValueError, match="no picture of the probe was reviewed"):
        probe.select([0]).with_reviewed(file)
    file.write_text("{}")
    with pytest.raises(ValueError, match="must be saved from the page of lightning-cam masks"):
        probe.with_reviewed(file)


def test_a_probe_is_made_with_a_review_and_guesses_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maskers, "guess", lambda _: pytest.fail("guessed"))
    images, targets = torch.zeros(3, 3, SIDE, SIDE), torch.tensor([0, 1, 1])
    dataset = TensorDataset(images, targets)
    file = tmp_path / "masks.json"
    file.write_text(json.dumps(review(data, file="1_2")))
    whole = Probe.from_dataset(dataset, find_masks=False)

    for probe in (
        Probe(images, targets, masks=torch.ones(3, SIDE, SIDE, dtype=torch.bool), reviewed=file),
        Probe.from_dataset(dataset, reviewed=file),
    ):
        assert (probe.names, probe.classes, probe.targets.tolist()) == (("1_2",), ("0", "1"), [1])
        assert (len(probe.images), probe.mask_sources) == (1, ("reviewed",))
        assert probe.fingerprint == whole.with_reviewed(file).fingerprint
    file.write_text(json.dumps(review(data)))
    with pytest.raises(ValueError, match=r"the file a/0\.png; a review of a folder is for Probe\.from_folder"):
        Probe(images, targets, reviewed=file)


def test_examine_judges_a_checkpoint_again_with_reviewed_masks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = [1, 3]
    pictures = [
        {"file": f"{'ab'[i % 2]}/{i}.png", "size": [SIDE, SIDE], "grid": [2, 2], "counts": full} for i in range(8)
    ]
    file = tmp_path / "masks.json"
    file.write_text(json.dumps({**review(data), "pictures": pictures}))
    torch.save(Reddish().state_dict(), tmp_path / "model.pt")
    command = ["examine", str(tmp_path / "model.pt"), "--model", f"{__name__}:Reddish", "--layer", "conv"]
    main([*command, "--data", str(data), "--masks", str(file)])
    from_folder = capsys.readouterr()
    Probe.from_folder(data, 6).save(tmp_path / "probe")
    main([*command, "--data", str(tmp_path / "probe")])
    from_probe = capsys.readouterr()

    assert "right on 8 of 8 pictures" in from_folder.out
    assert "no masks of the objects" not in from_folder.out
    assert "right on 6 of 6 pictures" in from_probe.out
    assert main([*command, "--data", str(tmp_path / "probe"), "--masks", str(data)]) == 2
    assert "--masks takes the masks.json of their page alone" in capsys.readouterr().err


def test_the_command_writes_the_page_and_writes_over_nothing_else(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "look.html", tmp_path / "notes.txt"
    other.write_text("mine")

    assert main(["masks", str(data), "--n", "4", "--out", str(out)]) == 0
    assert "open it in a browser" in capsys.readouterr().out
    assert "masks.json" in out.read_text()
    assert main(["masks", str(data), "--out", str(other)]) == 2
    assert other.read_text() == "mine"
    assert main(["masks", str(data), "--n", "2", "--out", str(out)]) == 0  # the same pictures
    assert main(["masks", str(kept(guessed(), tmp_path / "run")), "--out", str(out)]) == 2
    assert "look.html is there and shows other pictures; move it away, or pass --out FILE" in capsys.readouterr().err


# ---- the probe that a run keeps --------------------------------------------------------------------------------------


def guessed(n: int = 4, size: int = 4) -> Probe:
    """Pixels are bytes, as those of pictures are."""
    images = torch.randint(256, (n, 3, size, size), generator=torch.Generator().manual_seed(0)).float() / 255
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    masks[:, 0, 0] = True
    step = Normalize((0.5,), (0.25,))
    return Probe(images, torch.arange(n) % 2, masks=masks, mask_sources=["guess"] * n, preprocess=step)


def kept(probe: Probe, folder: Path) -> Path:
    FolderSink(folder).write(Page("cam", 3, 0, text="the end", is_final=True, run=Run("one"), reviewable=probe))
    return folder


def test_a_run_keeps_a_probe_of_bytes_that_is_the_same_probe(tmp_path: Path) -> None:
    probe = guessed()
    place = place_of_pictures(kept(probe, tmp_path / "run"))
    again = Probe.load(place)

    assert (again.fingerprint, again.preprocess, again.names) == (probe.fingerprint, probe.preprocess, probe.names)
    assert again.mask_sources == probe.mask_sources
    assert np.load(next(place.glob("images-*.npy"))).dtype == np.uint8
    assert place_of_pictures(tmp_path) == place_of_pictures(place.parent) == place
    assert place_of_pictures(place) == place
    far = kept(guessed(), tmp_path / "runs" / "bg" / "lightning_logs" / "version_0" / "cam_report")
    assert place_of_pictures(tmp_path / "runs") == far / "probe"


def test_a_run_without_pictures_says_when_there_are_some(data: Path, tmp_path: Path) -> None:
    FolderSink(tmp_path / "run").write(Page("cam", 3, 0, text="the end", is_final=True, run=Run("one")))

    with pytest.raises(
        ValueError, match=r"keeps no pictures of full size: .* if masks are guessed, doubted or missing, unless log"
    ):
        place_of_pictures(tmp_path / "run")
    assert place_of_pictures(data) == data


def test_masks_that_are_not_known_are_a_reason_to_keep_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    given, missing = replace(guessed(), mask_sources=("given",) * 4), Probe(guessed().images, torch.arange(4) % 2)
    with pytest.warns(UserWarning, match="cover the whole picture"):
        doubted = Probe(guessed(8).images, torch.arange(8) % 2, masks=torch.ones(8, 4, 4, dtype=torch.bool))

    assert [reviewing.is_reviewable(probe, {}) for probe in (guessed(), doubted, missing, given)] == [True] * 3 + [
        False
    ]
    assert not reviewing.is_reviewable(missing, {"background": "PASS"})
    monkeypatch.setattr(reviewing, "MOST_BYTES", 4 * 3 * 4 * 4 - 1)
    assert not reviewing.is_reviewable(guessed(), {})


def test_the_page_of_a_run_says_what_to_paste(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = kept(guessed(), tmp_path / "a run" / "cam_report")
    checkpoint = folder.parent / "checkpoints" / "last one.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()

    assert main(["masks", str(folder)]) == 0
    assert (
        f"lightning-cam examine '{checkpoint}' --model package.module:Net --data '{folder}' --masks masks.json\n"
        in capsys.readouterr().out
    )
    assert all(f'"file":"{name}"' in Path("masks.html").read_text() for name in guessed().names)
    assert main(["masks", str(folder), "--masks", "masks.json"]) == 2


def scenes(n: int, seed: int) -> tuple[TensorDataset, Tensor]:
    """Bodies before grounds that give the class away, and the bodies' exact masks."""
    images, masks = photographs(n, seed=seed)
    targets = torch.arange(n) % 2
    grounds = 0.2 + 0.5 * targets[:, None, None] + images[:, 2] / 5
    images[:, 2] = torch.where(masks, images[:, 2], grounds)
    return TensorDataset((255 * images).round() / 255, targets), masks


class Learning(Step, lightning.pytorch.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.build()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.03)


def ended(folder: Path, **options: Any) -> tuple[CAMCallback, Tensor]:
    """The callback of a training whose masks were guessed, and the exact masks of its probe."""
    torch.manual_seed(0)
    (training, _), (validation, masks) = scenes(160, 1), scenes(64, 2)
    callback = CAMCallback(every_n_epochs=4, trials=["background"], **options)
    run = trainer(folder, callback, lightning_=lightning.pytorch, max_epochs=4, enable_checkpointing=True)
    run.fit(Learning(), DataLoader(training, 16, shuffle=True), DataLoader(validation, 32))
    assert callback.probe is not None
    alike = (callback.probe.images[:, None] - validation.tensors[0]).abs().amax((2, 3, 4))
    return callback, masks[alike.argmin(1)]


@pytest.mark.slow
def test_a_run_with_guessed_masks_is_judged_again_by_the_commands_that_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    callback, masks = ended(tmp_path)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    lightning-cam")]
    look, examine_again = (shlex.split(line)[1:] for line in printed)
    code = main(look)
    assert callback.probe is not None
    names = callback.probe.names
    pictures = [
        {"file": name, "size": [64, 64], "grid": [64, 64], "counts": runs_of(mask)}
        for name, mask in zip(names, masks, strict=True)
    ]
    Path("masks.json").write_text(json.dumps({**review(tmp_path), "pictures": pictures}))
    capsys.readouterr()
    outcome = main(examine_again)

    assert callback.verdict is not None
    assert (code, callback.verdict.outcome, outcome) == (0, "WARN", 1)
    assert "lightning-cam masks cam_report writes a page" in callback.verdict.reason
    assert "FAIL: the model relies on something that is not the object: background" in capsys.readouterr().out
    for picture in pictures:  # lines that hold much of the ground
        picture["counts"] = runs_of(torch.arange(64).expand(64, 64) < 58)
    Path("masks.json").write_text(json.dumps({**review(tmp_path), "pictures": pictures}))
    main(examine_again)
    said = capsys.readouterr().out
    assert not said.startswith("PASS")
    assert "the run itself found background" in said


@pytest.mark.slow
def test_a_run_without_pictures_keeps_no_probe_and_names_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(consensus, "_STEPS", 8)
    ended(tmp_path, log_images=False)

    assert "    lightning-cam" not in capsys.readouterr().out
    assert not (tmp_path / "cam_report" / "probe").exists()
    assert (tmp_path / "cam_report" / "verdict.json").exists()
