"""A model file or folder -> a classifier ready to be attacked. No code from the file runs unless `trust` names it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from robaudit.errors import ModelError, first_line
from robaudit.files import sha256_of
from robaudit.front.front import Front
from robaudit.load.assimilated import fill, read_assimilated
from robaudit.load.beside_weights import require_clear
from robaudit.load.classes import class_names, require_finding, require_one_order, require_one_output
from robaudit.load.classifier import Classifier, LoadedModel
from robaudit.load.contents import read_contents
from robaudit.load.hub import local_folder
from robaudit.load.kinds import PROGRAMS, Contents, Kind
from robaudit.load.network import Asked, Network, read_network, trusted_hash
from robaudit.load.normalization import normalization_of, own_of_pixels
from robaudit.load.normalizer import INSIDE, require_unit_pixels
from robaudit.load.outputs import DEFAULT_THRESHOLD, Outputs
from robaudit.load.own_code import code_sha256
from robaudit.load.recipe import recipe_of
from robaudit.load.stated import Stated, stated
from robaudit.load.trial import tried, with_channels
from robaudit.load.unchanged import require_unchanged
from robaudit.records import FileRef, FrontInfo, InputSize, Loading, ModelInfo

DEFAULT_SIZE = (224, 224)
FURTHER_OPTIONS = ("factory", "trust", "weights", "output", "label_index", "threshold", "normalization")
"""Arguments of `load_model` that commands pass on without looking at them."""


def load_model(
    path: Path,
    *,
    arch: str | None = None,
    factory: str | None = None,
    trust: str | None = None,
    weights: str | None = None,
    output: str | None = None,
    label_index: int | None = None,
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
    folder_classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    normalization: str | None = None,
    input_size: tuple[int, int] | None = None,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load a classifier in eval mode, its normalisation inside.

    Args:
        path: model file or folder (docs/models.md lists what is read), or `hf-hub:` and a name there.
        arch: timm architecture, or `torchvision:` and a name there; None infers it from keys and shapes, or reads it
            from the folder.
        factory: `package.module:function` of the user's own, which returns the network without its weights.
        trust: SHA-256 of the file whose code may run; without it none does.
        weights: where in the file the state dict lies, such as `model_ema`; None takes the likeliest.
        output: which of several outputs is the classifier's, by name or number; None takes `logits`, or the only one.
        label_index: of several findings, the one to audit.
        threshold: probability, within (0, 1), above which one output decides for the second class; None takes the
            folder's own, then 0.5.
        classes: class names in the order of the outputs; None takes the folder's own, then `folder_classes`.
        folder_classes: class names of the data, sorted; the last resort.
        mean: per channel, in [0, 1] units; None takes the file's or folder's own, then ImageNet's.
        std: likewise.
        normalization: a preset instead of both: imagenet, half, none or xray.
        input_size: (height, width); None takes the file's or folder's own, then the program's or architecture's, then
            224x224.
        device: torch device.

    Raises:
        ModelError: missing, damaged, needs code to load, does not fit the architecture, has other classes, or its files
            changed meanwhile.
    """
    contents = replace(read_contents(local_folder(path)), path=path)
    own = stated(contents)
    if input_size is None:
        require_clear(path, own.unclear_size)
    asked = Asked(arch, factory, trust, weights, input_size or own.size)
    retrofitted = read_assimilated(contents, asked) if contents.kind is Kind.ASSIMILATED else None
    network = retrofitted.network if retrofitted else read_network(contents, asked)
    if contents.kind in PROGRAMS and not network.files:  # what an export says is of its program, not its weights alone
        own = replace(own, mean=None, std=None)
    (height, width), known_from = _input_size(network, input_size, own)
    size = height, width
    network = with_channels(path, network, size, likely=len(mean or own.mean or (0, 0, 0)))
    grid = InputSize(channels=network.in_chans, height=height, width=width, source=known_from)
    chosen = own.label_index if label_index is None else label_index
    answered = tried(path, network, size, own.output if output is None else output, chosen)
    if classes is None:
        require_one_order(path, own)
    require_finding(path, answered.n_outputs, chosen, own)
    n_outputs = answered.n_outputs if chosen is None else 1
    decides_at = own.threshold if threshold is None else threshold
    require_one_output(path, n_outputs, decides_at)
    decides_at = None if decides_at == DEFAULT_THRESHOLD else decides_at
    names = class_names(
        path, n_outputs, classes, own.labels_of(n_outputs), folder_classes,
        is_finding=chosen is not None and retrofitted is None,
    )  # fmt: skip
    if mean is None and std is None and normalization is None:
        own = _with_layers(own, contents, network)
    normalised = normalization_of(path, own, network.in_chans, mean=mean, std=std, preset=normalization)
    if retrofitted:
        fill(path, retrofitted, answered.backbone)
    front = retrofitted.front if retrofitted else None
    outputs = Outputs(threshold=DEFAULT_THRESHOLD if decides_at is None else decides_at)
    classifier = Classifier(answered.backbone, normalised, in_chans=network.in_chans, front=front, outputs=outputs)
    sha256 = _sha256(contents, network)
    require_unchanged({**network.files, **contents.files})  # of a file in both, as it was first
    return LoadedModel(
        classifier.eval().to(_device(device)),
        ModelInfo(
            path=str(path),
            sha256=sha256,
            code_sha256=code_sha256(network.module, network.factory),
            arch=network.arch,
            n_classes=len(names),
            classes=names,
            input=grid,
            normalization=normalised,
            front=_front_info(contents, front),
            loading=Loading(
                kind=contents.kind.value,
                weights=network.place,
                output=answered.output,
                label_index=chosen,
                threshold=decides_at,
                runs_code=network.runs_code,
                left_out=network.left_out,
            ),
        ),
        recipe_of(network, {"output": answered.output, "label_index": chosen, "threshold": decides_at}),
        own.resizing,
        own.shown,
        own.bgr,
    )


def _with_layers(own: Stated, contents: Contents, network: Network) -> Stated:
    """What the file states of the normalisation, with what its own layer does.

    Raises:
        ModelError: one of the two is not for pixels in [0, 1], or they contradict each other.
    """
    inside = network.inside
    if inside is not None and not {*map(len, inside)} <= {1, network.in_chans}:
        inside = None  # it normalises features or answers
    own = own_of_pixels(contents, own, network.normalization or inside, network.in_chans)
    if network.normalization is not None:
        mean, std = require_unit_pixels(contents, network.normalization, network.in_chans)
        return replace(own, mean=mean, std=std, source="a layer of the file, in front of the network")
    if inside is None or (own.mean is not None and not own.is_beside_weights):
        return own
    require_unit_pixels(contents, inside, network.in_chans, INSIDE)
    none = (0.0,) * network.in_chans, (1.0,) * network.in_chans
    return replace(own, mean=none[0], std=none[1], source="none: a layer inside the network normalises")


def _input_size(network: Network, given: tuple[int, int] | None, own: Stated) -> tuple[tuple[int, int], str]:
    """(height, width) of the grid a model is asked on, and where that is known from."""
    known = ((given, "given"), (own.size, own.size_source), (network.size, network.size_source))
    return next(((size, source) for size, source in known if size is not None), (DEFAULT_SIZE, "assumed"))


def _sha256(contents: Contents, network: Network) -> str:
    """Hash of what was loaded; of a graph with numbers beside it, over the hash of every file."""
    if contents.kind is Kind.ASSIMILATED or len(network.files) < 2:
        return contents.sha256  # whose configuration holds the hashes of its program
    known = {contents.weights: trusted_hash(contents)}
    return hashlib.sha256("".join(known.get(file) or sha256_of(file) for file in network.files).encode()).hexdigest()


def _front_info(contents: Contents, front: Front | None) -> FrontInfo | None:
    if front is None:
        return None
    return FrontInfo(vanilla=FileRef(**contents.metadata["vanilla"]), modules=front.modules_name)


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"--device {name}: is not usable here ({first_line(error)}); pass cpu") from None
    return device
