"""The whole retrofit on a tiny classifier and tiny images."""

import importlib
import json
import math
import shutil

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

import robaudit
from robaudit.data.images import open_images
from robaudit.data.learnt import Learnt, read_learnt, write_learnt
from robaudit.errors import ModelError, OutputError, SettingsError, TrainingError
from robaudit.load.classifier import Classifier
from robaudit.load.model import load_model
from robaudit.records import Normalization
from robaudit.retrofit import objective as objectives
from robaudit.retrofit import telling
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.before_training import with_front
from robaudit.retrofit.pace import Pace
from robaudit.retrofit.settings import train_config
from robaudit.retrofit.train import _optimiser, choose_trained
from robaudit.retrofit_records import TrainingRecord

QUICK = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3}
FRONT = {"epochs": 3, "batch_size": 8, "trains": "front"}
CHEAP = {"epochs": 1, "batch_size": 8, "trains": "front", "alpha": 1.0}


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def pixels(data):
    images = open_images(data, "val")
    return torch.stack([images.load(ref, (40, 40)) for ref in images.refs])


@pytest.fixture(scope="module")
def retrofitted(model, data, tmp_path_factory, heard_lines):
    """One retrofit of everything, looked at by several tests."""
    out = tmp_path_factory.mktemp("out") / "assimilated"
    return out, assimilate(model, data, out=out, progress=heard_lines, **QUICK), heard_lines


def test_before_the_first_step_the_logits_are_the_same_to_the_bit(model, data):
    images = pixels(data)
    vanilla = load_model(model)
    with torch.no_grad():
        expected = vanilla.classifier(images)
        assert torch.equal(with_front(vanilla, 1, seed=0)(images), expected)


def test_the_folder_is_complete_and_nothing_else_is_left(retrofitted):
    out, record, _ = retrofitted
    names = {path.name for path in out.iterdir()}
    files = {
        "model.safetensors",
        "config.json",
        "training.json",
        "metrics.jsonl",
        "diagnostics.json",
        "learnt-from.json",
    }
    assert names == files | {"pictures"}
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert TrainingRecord.model_validate_json((out / "training.json").read_text()) == record


def test_config_json_keeps_its_contract(retrofitted, model):
    config = json.loads((retrofitted[0] / "config.json").read_text())
    vanilla = load_model(model).info
    assert config == {
        "format": "robaudit-assimilated",
        "format_version": 2,
        "architecture": "robaudit_assimilated",
        "backbone": "test_resnet",
        "num_classes": 2,
        "classes": ["across", "down"],
        "in_chans": 3,
        "input_size": [1, 40, 40],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "normalization_source": "config.json",
        "front": {"in_channels": 1, "out_channels": 3, "width": 8, "modules": "T+C", "tint": False},
        "vanilla": {"path": str(model), "sha256": vanilla.sha256},
        "shown": [],
    }
    prefixes = {name.split(".")[0] for name in load_file(retrofitted[0] / "model.safetensors")}
    assert prefixes == {"front", "backbone"}


def test_the_folder_loads_as_a_model_with_the_best_epochs_weights(retrofitted, data):
    out, record, _ = retrofitted
    loaded = load_model(out)
    with torch.no_grad():
        predictions = loaded.classifier(pixels(data)).argmax(1)
    assert (predictions == torch.tensor([0] * 4 + [1] * 4)).sum() == record.best.val.n_correct
    assert loaded.info.front.modules == "T+C"
    assert (loaded.info.front.vanilla.path, loaded.info.front.vanilla.sha256) == (
        record.vanilla.path, record.vanilla.sha256,
    )  # fmt: skip


def test_training_lowers_the_loss_and_the_best_epoch_is_the_one_kept(retrofitted):
    out, record, _ = retrofitted
    rows = metrics(out)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["train"] is None
    assert rows[3]["train"]["total"] < rows[1]["train"]["total"]
    best = min(rows[1:], key=lambda row: row["val"]["losses"]["total"])
    assert record.best.epoch == best["epoch"]


def test_the_parts_of_the_loss_add_up_in_every_epoch(retrofitted):
    for row in metrics(retrofitted[0])[1:]:
        for losses in (row["train"], row["val"]["losses"]):
            expected = 0.9 * losses["cross_entropy"] + 0.1 * losses["texture"]
            assert losses["total"] == pytest.approx(expected, rel=1e-4)
            assert losses["texture"] > 0


def test_the_person_is_told_what_happens(retrofitted):
    _, _, heard_lines = retrofitted
    assert any(line.startswith("T+C in front") for line in heard_lines.lines)
    assert any("not stated by the source, ours:" in line and "alpha" in line for line in heard_lines.lines)
    assert any("epoch 3/3" in line and "of 8 correct" in line for line in heard_lines.lines)
    assert any("0.9 x cross-entropy" in note and "0.1 x texture" in note for note in heard_lines.notes)


def test_validation_images_that_are_training_images_too_are_counted(retrofitted, model, data, tmp_path, heard_lines):
    assert not any("pixel for pixel" in line for line in retrofitted[2].lines)
    shutil.copytree(data, tmp_path / "data")
    shutil.copy(tmp_path / "data" / "train" / "down" / "0.png", tmp_path / "data" / "val" / "down" / "again.png")
    heard = type(heard_lines)()
    assimilate(model, tmp_path / "data", out=tmp_path / "out", trains="front", alpha=1.0, epochs=1, progress=heard)
    assert any(line.startswith("1 of 9 validation images are training images too") for line in heard.lines)


def test_validation_images_of_patients_who_train_too_are_counted(model, data, tmp_path, heard_lines):
    """One of the four of each class."""
    rows = ["path,label,split,patient_id"]
    for path in sorted(data.rglob("*.png")):
        part, label, name = path.relative_to(data).parts
        patient = f"{label} {name}" if part == "train" or name == "0.png" else f"another {label} {name}"
        rows.append(f"{path.relative_to(data).as_posix()},{label},{part},{patient}")
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "m.csv").write_text("\n".join(rows))
    assimilate(model, tmp_path / "data" / "m.csv", out=tmp_path / "out", progress=heard_lines, **CHEAP)
    said = "2 of 8 validation images are of patients who are in train too: what chooses the epoch is optimistic"
    assert said in heard_lines.lines


def test_the_same_seed_gives_the_same_weights_and_another_does_not(retrofitted, model, data, tmp_path):
    state = torch.get_rng_state()
    again = assimilate(model, data, out=tmp_path / "again", **QUICK)
    assert again.weights.sha256 == retrofitted[1].weights.sha256
    assert torch.equal(torch.get_rng_state(), state)
    other = assimilate(model, data, out=tmp_path / "other", seed=1, **QUICK)
    assert other.weights.sha256 != again.weights.sha256


def test_a_frozen_backbone_does_not_change_by_a_bit_its_statistics_included(model, data, tmp_path):
    settings = {"trains": "front", "epochs": 1, "batch_size": 8, "front_learning_rate": 2e-3}
    assimilate(model, data, out=tmp_path / "out", **settings)
    before = load_file(model / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(after[f"backbone.{name}"], weight) for name, weight in before.items())
    assert any(weight.abs().max() > 0 for name, weight in after.items() if name.endswith("amount.4.weight"))
    assert [row["learning_rate"] for row in metrics(tmp_path / "out")] == [None, 2e-3]


def test_the_last_layer_of_a_torchvision_network_trains_and_nothing_else_of_it(data, tmp_path):
    network, out = models.shufflenet_v2_x0_5(num_classes=2), tmp_path / "out"
    torch.save(network.state_dict(), tmp_path / "model.pt")
    settings = {"input_size": (40, 40), "limit": 2, "alpha": 1.0, **QUICK, "epochs": 1}
    assimilate(tmp_path / "model.pt", data, out=out, trains="front+head", **settings)
    after = load_model(out).classifier.backbone.state_dict()
    changed = {name for name, weight in network.state_dict().items() if not torch.equal(after[name], weight)}
    assert changed == {"fc.weight", "fc.bias"}
    assert any("running_mean" in name for name in after)


def test_a_network_without_a_last_layer_of_its_own_is_refused_a_trained_head():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d((1, 2)), torch.nn.Flatten())
    classifier = Classifier(network, Normalization(mean=(0.0,), std=(1.0,), source="user"), in_chans=1)
    with pytest.raises(SettingsError, match="the last layer of this model, of a number per class, was not found"):
        choose_trained(classifier, "front+head", torch.rand(1, 1, 8, 8))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_in_front_of_a_frozen_program_t_and_c_alone_train(data, tmp_path, heard_lines):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    torch.jit.freeze(torch.jit.trace(network, torch.rand(2, 3, 40, 40))).save(tmp_path / "frozen.pt")
    settings = {"epochs": 1, "batch_size": 8, "normalization": "half", "input_size": (40, 40), "progress": heard_lines}
    assert assimilate(tmp_path / "frozen.pt", data, out=tmp_path / "out", **settings).n_epochs == 1
    assert any("new weights, which alone train: the model's are constants" in line for line in heard_lines.lines)
    with pytest.raises(SettingsError, match=r"trains network: .* constants of its program.*; use front or all"):
        assimilate(tmp_path / "frozen.pt", data, out=tmp_path / "other", trains="network", **settings)


def test_a_network_of_three_dimensions_is_retrofitted(data, tmp_path, monkeypatch):
    """One that takes a picture for a volume one voxel deep."""
    (tmp_path / "deep.py").write_text(
        "from torch import nn\n"
        "def network():\n"
        "    layers = nn.Conv3d(3, 4, (1, 3, 3)), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)\n"
        "    return nn.Sequential(nn.Unflatten(1, (3, 1)), *layers)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    torch.save(importlib.import_module("deep").network().state_dict(), tmp_path / "deep.pt")
    settings = {"epochs": 1, "batch_size": 8, "normalization": "half", "input_size": (40, 40)}
    record = assimilate(tmp_path / "deep.pt", data, out=tmp_path / "out", factory="deep:network", **settings)
    assert record.n_epochs == 1


def test_a_one_channel_backbone_gets_t_alone_and_is_told_so(grey_model, data, tmp_path, heard_lines):
    record = assimilate(grey_model, data, out=tmp_path / "out", progress=heard_lines, **(FRONT | {"epochs": 1}))
    assert record.modules == "T"
    assert "this model takes one channel: T alone, there is no C" in heard_lines.lines
    assert load_model(tmp_path / "out").classifier.front.colour is None


def test_c_alone_has_no_place_before_a_one_channel_backbone(grey_model, data, tmp_path):
    with pytest.raises(ModelError, match=r"C gives three channels, the backbone takes one\); use --front T$"):
        assimilate(grey_model, data, out=tmp_path / "out", front="C", **CHEAP)


def test_alpha_one_trains_without_texture(model, data, tmp_path):
    record = assimilate(model, data, out=tmp_path / "out", alpha=1.0, **(QUICK | {"epochs": 1}))
    assert record.best.train.texture == 0
    assert record.best.worst_patch is None


def test_undivided_data_is_split_and_the_split_written_out(model, data, tmp_path):
    record = assimilate(model, data / "train", out=tmp_path / "out", **CHEAP)
    manifest = tmp_path / "out" / "split.csv"
    assert open_images(manifest, "train").sha256 == record.train.sha256
    assert len(open_images(manifest, "test")) > 0


def test_unreadable_images_are_counted_in_the_record(model, data, tmp_path):
    (shutil.copytree(data, tmp_path / "data") / "train" / "down" / "bad.png").write_bytes(b"no image")
    record = assimilate(model, tmp_path / "data", out=tmp_path / "out", on_bad_image="skip", **CHEAP)
    assert (record.train.n_skipped, record.val.n_skipped) == (1, 0)


def test_a_chain_of_trainings_keeps_what_each_has_learnt_from(model, data, tmp_path):
    shutil.copytree(model, tmp_path / "earlier")
    earlier = Learnt(frozenset({"patient"}), frozenset({"picture"}))
    write_learnt(tmp_path / "earlier", (), earlier)
    assimilate(tmp_path / "earlier", data, out=tmp_path / "out", **CHEAP)
    learnt = read_learnt(tmp_path / "out")
    assert learnt.patients == earlier.patients
    assert learnt.pictures > earlier.pictures


def test_a_finished_folder_is_reused_and_other_settings_need_restart(model, data, tmp_path):
    out = tmp_path / "out"
    record = assimilate(model, data, out=out, **CHEAP)
    assert assimilate(model, data, out=out, **CHEAP) == record
    assert (out / "model.safetensors").exists()
    with pytest.raises(OutputError, match="made with other settings; use --restart"):
        assimilate(model, data, out=out, **(CHEAP | {"seed": 3}))
    assert assimilate(model, data, out=out, restart=True, **(CHEAP | {"seed": 3})).settings["seed"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_place_of_a_link_is_where_it_leads(model, data, tmp_path):
    """Dangling at first, then replaced; and an older link in the way of what is replaced goes, not its folder."""
    link, disk, kept = tmp_path / "link", tmp_path / "disk", tmp_path / "kept"
    kept.mkdir()
    link.symlink_to(disk / "out")
    assimilate(model, data, out=link, **CHEAP)
    (disk / ".out.replaced").symlink_to(kept)
    assimilate(model, data, out=link, restart=True, **CHEAP)
    assert link.is_symlink()
    assert (link / "training.json").samefile(disk / "out" / "training.json")
    assert sorted(path.name for path in (*tmp_path.iterdir(), *disk.iterdir())) == ["disk", "kept", "link", "out"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_that_changed_after_training_is_neither_reused_nor_loaded(model, data, tmp_path, name):
    out = tmp_path / "out"
    record = assimilate(model, data, out=out, **CHEAP)
    file, told = out / name, out / "training.json"
    content = file.read_bytes()
    changed = content.replace(b'"down"', b'"DOWN"') if name == "config.json" else content[:-1] + b"?"
    file.write_bytes(changed)
    with pytest.raises(OutputError, match=f"{name}: is not what training left; use --restart"):
        assimilate(model, data, out=out, **CHEAP)
    with pytest.raises(ModelError, match=f"its {name} changed after training"):
        load_model(out)
    file.unlink()
    with pytest.raises(OutputError, match="is not what training left"):
        assimilate(model, data, out=out, **CHEAP)
    file.write_bytes(content)
    assert assimilate(model, data, out=out, **CHEAP) == record
    file.write_bytes(changed)
    told.rename(tmp_path / "elsewhere.json")
    assert load_model(out).info.sha256  # as the message says


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_a_network_of_one_output_that_is_fine_tuned_alone_is_a_folder_for_timm(data, tmp_path, threshold):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=1)
    torch.save(network.state_dict(), tmp_path / "one.pt")
    loading = {"arch": "test_resnet", "input_size": (40, 40), "normalization": "half", "threshold": threshold}
    assimilate(tmp_path / "one.pt", data, out=tmp_path / "out", front="none", **loading, **(QUICK | {"epochs": 1}))
    theirs, ours = (
        timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval(),
        load_model(tmp_path / "out"),
    )
    assert ours.info.classes == ("across", "down")
    assert ours.info.loading.threshold == threshold
    x = torch.rand(2, 3, 40, 40)
    shift = math.log(0.3 / 0.7) if threshold else 0
    with torch.no_grad():
        torch.testing.assert_close(ours.classifier(x)[:, 1:] * 2 + shift, theirs((x - 0.5) / 0.5))


def test_a_network_for_another_size_than_its_name_means_is_built_for_it_by_timm_too(data, tmp_path):
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", num_classes=2, img_size=48).state_dict(), tmp_path / "vit.pt")
    loading = {"arch": "test_vit", "normalization": "half", "front": "none"}
    assimilate(tmp_path / "vit.pt", data, out=tmp_path / "out", **loading, **(QUICK | {"epochs": 1}))
    ours, x = load_model(tmp_path / "out"), torch.rand(2, 3, 48, 48)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours.classifier(x), theirs((x - 0.5) / 0.5))


def test_a_timm_folder_with_arguments_of_its_own_is_fine_tuned_alone_and_keeps_them(data, tmp_path):
    """The rival of a retrofit of a ViT for another size, or with another pooling."""
    torch.manual_seed(0)
    folder, arguments = tmp_path / "vit", {"img_size": 48}
    folder.mkdir()
    save_file(timm.create_model("test_vit", num_classes=2, **arguments).state_dict(), folder / "model.safetensors")
    cfg = {"input_size": [3, 48, 48], "mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"architecture": "test_vit", "num_classes": 2, "model_args": arguments, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    assimilate(folder, data, out=tmp_path / "out", front="none", **(QUICK | {"epochs": 1}))
    ours, x = load_model(tmp_path / "out"), torch.rand(2, 3, 48, 48)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours.classifier(x), theirs((x - 0.5) / 0.25))


def test_a_folder_that_is_not_ours_is_never_replaced(model, data, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match="no folder written by robaudit assimilate"):
        assimilate(model, data, out=tmp_path, restart=True, **QUICK)
    assert (tmp_path / "thesis.tex").exists()


def test_a_folder_of_another_programs_training_json_is_never_replaced(model, data, tmp_path):
    (tmp_path / "training.json").write_text('{"epochs": 90}')
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match="no folder written by robaudit assimilate"):
        assimilate(model, data, out=tmp_path, restart=True, **QUICK)
    assert (tmp_path / "thesis.tex").exists()


def test_what_somebody_put_into_a_retrofit_is_not_removed_with_it(model, data, tmp_path):
    out = tmp_path / "out"
    record = assimilate(model, data, out=out, **CHEAP)
    (out / "audit").mkdir()
    with pytest.raises(OutputError, match="holds audit, which robaudit assimilate did not write; move it away"):
        assimilate(model, data, out=out, restart=True, **CHEAP)
    assert assimilate(model, data, out=out, **CHEAP) == record
    assert (out / "audit").is_dir()


def test_the_model_is_never_replaced_by_its_own_retrofit(model, data, tmp_path):
    tuned = tmp_path / "tuned"
    assimilate(model, data, out=tuned, front="none", **(QUICK | {"epochs": 1}))
    weights = (tuned / "model.safetensors").read_bytes()
    for path in (tuned, tuned / "model.safetensors"):
        with pytest.raises(OutputError, match="holds the model that is to be retrofitted"):
            assimilate(path, data, out=tuned, restart=True, **QUICK)
    assert (tuned / "model.safetensors").read_bytes() == weights


def test_a_folder_whose_place_no_other_can_take_is_refused_before_training(model, data, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", "..", tmp_path / "here"):
        with pytest.raises(OutputError, match="is the current folder, or holds it, and no finished folder can take"):
            assimilate(model, data, out=out, **QUICK)
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path / "volume")
    with pytest.raises(OutputError, match=r"volume: is a mount point, .*; pass one in it"):
        assimilate(model, data, out=tmp_path / "volume", **QUICK)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OutputError, match=r"circle: is a link that leads in a circle"):
        assimilate(model, data, out=tmp_path / "circle", **QUICK)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["circle", "here"]


def test_the_split_to_learn_from_is_never_replaced_by_its_own_retrofit(model, data, tmp_path):
    out = tmp_path / "out"
    assimilate(model, data / "train", out=out, **CHEAP)
    with pytest.raises(OutputError, match=r"holds the images to learn from \(.*split\.csv\); move them away"):
        assimilate(model, out / "split.csv", out=out, restart=True, **CHEAP)
    assert (out / "split.csv").is_file()


def test_training_stops_when_validation_no_longer_improves(model, data, tmp_path):
    """A step so large that the first epoch ruins the model: the loss soon stops falling."""
    record = assimilate(
        model,
        data,
        out=tmp_path / "out",
        trains="front",
        epochs=30,
        patience=1,
        front_learning_rate=1.0,
        alpha=0.0,
        batch_size=8,
    )
    assert record.stopped == "patience"
    assert record.n_epochs == record.best.epoch + 1 < 30


def test_a_loss_that_is_not_finite_keeps_the_last_good_weights(model, data, tmp_path, monkeypatch, heard_lines):
    spoil_after(monkeypatch, n_calls=1 + 2 + 1)  # epoch 0; epoch 1: two steps, one validation
    record = assimilate(model, data, out=tmp_path / "out", progress=heard_lines, **FRONT)
    assert (record.stopped, record.n_epochs, record.best.epoch) == ("nan", 1, 1)
    ending = "stopped in epoch 2: the loss was not finite; the last good weights were kept"
    assert any(text.startswith(ending) for text in heard_lines.lines)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "--lr 0.0001 and --front-lr 0.001; nothing was written; lower --lr or --front-lr"),
        ({"trains": "front"}, "--front-lr 0.001; nothing was written; lower --front-lr"),
        ({"front": "none"}, "--lr 0.0001; nothing was written; lower --lr"),
    ],
)
def test_a_loss_that_is_never_finite_leaves_nothing_behind(model, data, tmp_path, monkeypatch, settings, said):
    spoil_after(monkeypatch, n_calls=1)
    with pytest.raises(TrainingError, match=f"not finite in epoch 1 with {said}$"):
        assimilate(model, data, out=tmp_path / "out", epochs=1, batch_size=8, **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_answers_no_numbers_is_told_in_words(model, data, tmp_path):
    spoilt, weights = shutil.copytree(model, tmp_path / "spoilt"), load_file(model / "model.safetensors")
    save_file(weights | {"fc.weight": torch.full_like(weights["fc.weight"], torch.nan)}, spoilt / "model.safetensors")
    with pytest.raises(TrainingError, match="loss is not finite before the first step; check --mean and --std"):
        assimilate(spoilt, data, out=tmp_path / "out", **CHEAP)


def spoil_after(monkeypatch, n_calls):
    """Make the loss NaN from the given call on."""
    calls, honest = iter(range(10_000)), objectives.assimilation_loss

    def spoilt(cross_entropy, *rest):
        return honest(cross_entropy if next(calls) < n_calls else cross_entropy * float("nan"), *rest)

    monkeypatch.setattr(objectives, "assimilation_loss", spoilt)
    monkeypatch.setattr(telling, "measured_pace", lambda *_: Pace(1.0, 1.0, 1.0))  # it computes losses too


def test_a_retrofitted_model_is_not_retrofitted_again(retrofitted, data, tmp_path):
    with pytest.raises(ModelError, match="already retrofitted"):
        assimilate(retrofitted[0], data, out=tmp_path / "out", **QUICK)


def test_the_paper_preset_is_what_the_source_states_and_can_be_overridden():
    config = train_config("paper", epochs=2)
    assert (config.epochs, config.patience, config.batch_size, config.learning_rate) == (2, 30, 32, 1e-4)
    assert config.texture.glcm_on == "color"
    assert {"epochs", "alpha", "levels", "weight_decay"} <= set(config.ours())
    assert not {"patience", "batch_size", "glcm_on", "trains"} & set(config.ours())
    robust = train_config("paper", robust="fgsm")
    assert (robust.patience, robust.schedule) == (30, "cosine")


@pytest.mark.parametrize(
    ("settings", "idle", "in_use"),
    [
        ({}, {"robust", "robust_eps_255", "trades_beta", "val_steps"}, {"tint", "random_front", "rows", "glcm_on"}),
        ({"alpha": 1.0}, {"levels", "patch", "rows", "scaled", "glcm_on"}, {"alpha", "tint"}),
        ({"front": "T"}, {"tint", "glcm_on"}, {"front", "levels"}),
        ({"front": "C"}, {"glcm_on"}, {"front", "tint"}),
        ({"front": "none"}, {"tint", "random_front", "front_learning_rate", "levels"}, {"front", "schedule"}),
        ({"robust": "fgsm"}, {"trades_beta"}, {"robust", "robust_eps_255", "robust_steps", "val_steps"}),
        ({"robust": "trades"}, set(), {"robust", "trades_beta"}),
    ],
)
def test_settings_that_nothing_looks_at_are_not_told_as_ours(settings, idle, in_use):
    ours = set(train_config(**settings).ours())
    assert not idle & ours
    assert in_use <= ours


def test_the_optimiser_is_on_record_as_ours(retrofitted):
    record = retrofitted[1]
    assert type(_optimiser(load_model(retrofitted[0]).classifier, train_config())).__name__ == record.optimiser
    assert "optimiser" in record.ours
    assert "trades_beta" in record.idle
    older = record.model_dump(mode="json", exclude={"optimiser", "idle"})
    assert TrainingRecord.model_validate_json(json.dumps(older)).optimiser == "AdamW"


def test_what_is_off_and_what_a_preset_says_is_not_refused_for_being_without_use(grey_model, data, tmp_path):
    off = {"tint": False, "random_front": False, "robust": "none"}
    assert train_config("paper", front="T", trains="front", alpha=1.0, **off).texture.glcm_on == "color"
    assert train_config(front="none", levels=8, rows="features", front_learning_rate=0.1).alpha == 1
    with pytest.raises(SettingsError, match="--tint: is what C may do, and a model that takes one channel has no C"):
        assimilate(grey_model, data, out=tmp_path / "out", tint=True, **FRONT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.5}, "--alpha 1.5: wanted between 0 and 1"),
        ({"epochs": 0}, "--epochs 0: wanted at least 1"),
        ({"learning_rate": float("nan")}, "--lr nan: wanted above 0"),
        ({"levels": 1}, "--levels 1: wanted from 2 to 256"),
        ({"trains": "head"}, "--trains head: wanted all, front, front.head or network"),
        ({"preset": "papre"}, "--preset papre: is unknown; there is paper"),
        ({"robust_eps_255": 8}, "--robust-eps 8: is for adversarial training; add --robust"),
        ({"val_steps": 5}, "--val-steps 5: is for adversarial training; add --robust"),
        ({"robust": "pgd", "trades_beta": 3.0}, "--trades-beta 3: is for --robust-by trades, not pgd"),
        ({"tint": True, "front": "T"}, "--tint: is what C may do, and --front T has no C"),
        ({"tint": True, "front": "none"}, "--tint: is what C may do, and --front none has no C"),
        ({"trains": "front", "learning_rate": 0.01}, "--lr 0.01: is the network's, which --trains front leaves"),
        ({"trains": "network", "front_learning_rate": 0.01}, "--front-lr 0.01: is that of T and C, which --trains"),
        ({"alpha": 1.0, "levels": 32}, "--levels 32: is of the texture term, which --alpha 1 is without"),
        ({"alpha": 1.0, "scaled": False}, "--raw-features: is of the texture term"),
        (
            {"front": "T", "glcm_on": "color"},
            r"--glcm-on color: tells C\(T\(X\)\) from C\(X\), and --front T has not both",
        ),
        ({"seed": 2**64}, "--seed 18446744073709551616: wanted from 0"),
    ],
)
def test_settings_out_of_range_are_named_before_anything_is_read(settings, message, tmp_path):
    with pytest.raises(SettingsError, match=message):
        assimilate("no-such-model.pt", "no-such-data", out=tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_input_grid_without_a_whole_patch_is_refused(model, data, tmp_path):
    with pytest.raises(SettingsError, match="16x16 pixels holds no patch of 20x20; use a larger --input-size"):
        assimilate(model, data, out=tmp_path / "out", input_size=(16, 16), **QUICK)


def test_a_step_of_one_image_that_batch_norm_cannot_take_is_told_in_words(model, data, tmp_path):
    """Features of 1x1 pixels; three images in steps of two leave one alone."""
    settings = {"epochs": 1, "batch_size": 2, "limit": 3, "input_size": (20, 20)}
    with pytest.raises(SettingsError, match=r"--batch-size 2: leaves one image to a step.*--trains front"):
        assimilate(model, data, out=tmp_path / "out", **settings)
    assert assimilate(model, data, out=tmp_path / "out", trains="front", **settings).n_epochs == 1


def test_the_network_alone_is_trained_on_a_grid_of_any_size(model, data, tmp_path):
    settings = {"input_size": (16, 16), "front": "none", **QUICK, "epochs": 1}
    assert assimilate(model, data, out=tmp_path / "out", **settings).vanilla.input.height == 16


def test_the_api_is_reached_from_the_package():
    assert robaudit.assimilate is assimilate
