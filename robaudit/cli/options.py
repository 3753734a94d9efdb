"""Options that several commands share, with one help text each."""

import re
import shlex
import sys
from math import isfinite, nan
from pathlib import Path
from typing import Annotated, Any

import typer

from robaudit.cli.console import log_as_json
from robaudit.errors import SettingsError
from robaudit.typed import names_in

MODEL, DATA, ATTACK, RUN = "The model", "The images", "The attack", "The run"
SCALE, ENGINE = "Many workers", "The engine"
MAX_RANGE = 1000
"""No range of whole numbers is longer: `1-8000000000` is a slip, and would fill the memory."""

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Checkpoint, safetensors, TorchScript, torch.export or ONNX file; timm, Hugging Face, MONAI or "
        "assimilated folder; or hf-hub:NAME.",
    ),
]
DataArgument = Annotated[
    str,  # not Path, which would make s3:/ of s3://
    typer.Argument(
        metavar="DATA",
        help="Folder with a sub-folder per class, train/val/test folders of these, a CSV or Parquet manifest, or a "
        "MedMNIST .npz. Folders and manifests may be elsewhere: s3://BUCKET/FOLDER.",
    ),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the result; the same command continues or reuses.")]

Arch = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Architecture, where the file does not tell: a timm name, or torchvision:NAME.",
        rich_help_panel=MODEL,
    ),
]
Factory = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:NAME",
        help="Your own function that returns the network, as my.package:make; the file then gives its weights.",
        rich_help_panel=MODEL,
    ),
]
Trust = Annotated[
    str | None,
    typer.Option(
        metavar="SHA256",
        help="Let the code in the model file of this hash run. Without it, none ever does.",
        rich_help_panel=MODEL,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Which of several state dicts in the file, such as model_ema.", rich_help_panel=MODEL
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which of several outputs holds a number per class [dim](default: logits, or the only one)[/dim].",
        rich_help_panel=MODEL,
    ),
]
LabelIndex = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Which of several findings that do not exclude each other to audit, counted from 0.",
        rich_help_panel=MODEL,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="For a model of one output: probability above which it means the second class [dim](default: the "
        "folder's config, else 0.5)[/dim].",
        rich_help_panel=MODEL,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,..",
        help="Class names in the order of the model's outputs; '\"a, b\",c' where one has a comma.",
        rich_help_panel=MODEL,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="M,..",
        help="Mean of the model's own normalisation, per channel, in 0..1 units "
        "[dim](default: the folder's config, else ImageNet)[/dim].",
        rich_help_panel=MODEL,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="S,..", help="Standard deviation of it, per channel.", rich_help_panel=MODEL),
]
NormalizationPreset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Instead of mean and std: imagenet · half, 0.5 and 0.5 · none · xray, which takes [-1024, 1024].",
        rich_help_panel=MODEL,
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        metavar="H,W",
        help="Input grid; images are resized to it "
        "[dim](default: the folder's config, else the architecture's, else 224,224)[/dim].",
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto takes a GPU when there is one; or cpu, cuda, cuda:1.", rich_help_panel=RUN),
]
Limit = Annotated[
    int | None,
    typer.Option(min=2, metavar="N", help="Use at most N images, each class in proportion.", rich_help_panel=DATA),
]
Positive = Annotated[
    str | None,
    typer.Option(metavar="CLASS", help="The class whose recall is called sensitivity.", rich_help_panel=DATA),
]
Merge = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NEW=A,B", help="Join class folders: tumor=glioma,meningioma. Repeatable.", rich_help_panel=DATA
    ),
]
Note = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What readers must know about the images first.", rich_help_panel=DATA),
]
OnBadImage = Annotated[
    str, typer.Option(metavar="fail|skip", help="What to do with an unreadable image.", rich_help_panel=DATA)
]
OnLearntImage = Annotated[
    str,
    typer.Option(
        metavar="keep|skip",
        help="What to do with an image that the train or val part of DATA has too, pixel for pixel, or that the "
        "retrofit has learnt from: keep it and say so, or leave it out.",
        rich_help_panel=DATA,
    ),
]
Invert = Annotated[
    bool, typer.Option("--invert", help="Show the model the negative of every image.", rich_help_panel=DATA)
]
Bgr = Annotated[
    bool, typer.Option("--bgr", help="Give the model blue, green, red instead of RGB.", rich_help_panel=DATA)
]
Transpose = Annotated[
    bool,
    typer.Option("--transpose", help="Exchange rows and columns, as MONAI's readers do.", rich_help_panel=DATA),
]
Resize = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How an image of another shape comes to the input grid. stretch: both sides · cover: the shorter side, "
        "its middle cut out · crop: likewise, the middle 7/8 (256 to 224) · pad: the longer side, black around.",
        rich_help_panel=DATA,
    ),
]
Slice = Annotated[
    str | None,
    typer.Option(
        "--slice",
        metavar="AXIS,INDEX",
        help="Slice of a volume (NIfTI, 3-D MedMNIST) that is the image: 2,90 or 2,middle; axes 0 to 2 as stored.",
        rich_help_panel=DATA,
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        help="Values of DICOM or NIfTI that are black and white [dim](default: the file's own)[/dim].",
        rich_help_panel=DATA,
    ),
]
AcceptPreprocessing = Annotated[
    bool,
    typer.Option(
        "--accept-preprocessing",
        help="Go on although another normalisation, class order or the like does clearly better.",
        rich_help_panel=MODEL,
    ),
]
ExpectCleanAccuracy = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="A",
        help="Clean accuracy you know the model to have, such as 0.94; clearly less stops the scan.",
        rich_help_panel=MODEL,
    ),
]
Seed = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Seed of random starts, --limit and training order.", rich_help_panel=RUN),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Discard what the folder holds and start again.", rich_help_panel=RUN)
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of the cluster: auto, or ray://HOST:PORT [dim](default: RAY_ADDRESS, else this machine)[/dim].",
        rich_help_panel=SCALE,
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="N",
        help="GPUs that each Ray worker needs; 0.5 lets two share one [dim](default: 1 on GPUs)[/dim].",
        rich_help_panel=SCALE,
    ),
]
HangAfter = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="A model that takes longer over one batch counts as hanging: the command ends with 130 and names its "
        "images; scan with several workers counts the image as an error and goes on. 0 waits for ever.",
        rich_help_panel=RUN,
    ),
]
LogJson = Annotated[
    bool,
    typer.Option(
        "--log-json",
        help="Progress and messages on stderr as JSON, an object a line.",
        callback=log_as_json,
        is_eager=True,
        rich_help_panel=RUN,
    ),
]
AuditArgument = Annotated[Path, typer.Argument(metavar="AUDIT.json", help="The audit record that scan wrote.")]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one JSON document, and nothing else, to stdout."),
]


def names(text: str | None) -> list[str] | None:
    """A comma-separated list of names, those with a comma in double quotes; None stays None.

    Raises:
        SettingsError: it is no such list.
    """
    if text is None:
        return None
    try:
        return names_in(text)
    except ValueError as error:
        raise SettingsError(f"{text[:60]}: is no list of names ({error}); separate them by commas") from None


def numbers(option: str, text: str | None) -> list[float] | None:
    """A comma-separated list of numbers; None stays None.

    Raises:
        SettingsError: something in it is no number.
    """
    try:
        found = None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        found = [nan]
    if found is not None and not all(map(isfinite, found)):
        raise SettingsError(f"{option} {text}: wanted numbers separated by commas, such as 0.5,0.5,0.5")
    return found


def whole_numbers(option: str, text: str) -> list[int]:
    """A comma-separated list of whole numbers and ranges: `1,2,4` or `1-8`.

    Raises:
        SettingsError: something in it is no whole number.
    """
    found: list[int] = []
    try:
        for part in text.replace("..", "-").split(","):
            first, dash, last = part.partition("-")
            low, high = int(first), int(last if dash else first)
            if not 0 <= high - low <= MAX_RANGE:
                raise ValueError
            found += range(low, high + 1)
    except ValueError:
        meant = " (4 means 4/255)" if option == "--eps" else ""
        raise SettingsError(f"{option} {text}: wanted whole numbers, such as 1,2,4 or 1-8{meant}") from None
    return found


def size(text: str | None) -> tuple[int, int] | None:
    """`H,W` or `HxW`, or one number for a square; None stays None.

    Raises:
        SettingsError: it is none of these, or too small to be a picture.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([,x](\d{1,9}))?", text.lower().replace(" ", ""), re.ASCII)
    height, width = (int(found[1]), int(found[3] or found[1])) if found else (0, 0)
    if min(height, width) < 8:
        raise SettingsError(f"--input-size {text[:60]}: wanted height,width of at least 8, such as 224,224")
    return height, width


def choice(option: str, value: str, *allowed: str) -> Any:
    """The value, if it is one of those allowed.

    Raises:
        SettingsError: it is not.
    """
    if value not in allowed:
        raise SettingsError(f"{option} {value}: wanted {' or '.join(allowed)}")
    return value


def merged(pairs: list[str] | None) -> dict[str, list[str]] | None:
    """`NEW=A,B` options as new class -> old classes.

    Raises:
        SettingsError: one of them has another form.
    """
    joined: dict[str, list[str]] = {}
    for pair in pairs or []:
        new, equals, old = pair.partition("=")
        if not new or not equals or not names(old):
            raise SettingsError(f"--merge {pair}: wanted NEW=A,B, such as tumor=glioma,meningioma")
        joined[new] = names(old) or []
    return joined or None


def volume_slice(text: str | None) -> tuple[int, int | None] | None:
    """`AXIS,INDEX` or `AXIS,middle`; None stays None.

    Raises:
        SettingsError: it is neither.
    """
    if text is None:
        return None
    axis, _, index = text.replace(" ", "").partition(",")
    if axis not in ("0", "1", "2") or not (index.isdecimal() or index == "middle"):
        raise SettingsError(f"--slice {text}: wanted AXIS,INDEX with an axis of 0 to 2, such as 2,90 or 2,middle")
    return int(axis), None if index == "middle" else int(index)


def window_of(text: str | None) -> tuple[float, float] | None:
    """`LOW,HIGH`; None stays None.

    Raises:
        SettingsError: it is no such pair.
    """
    ends = numbers("--window", text)
    if ends is None:
        return None
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise SettingsError(f"--window {text}: wanted LOW,HIGH with LOW below HIGH, such as -1000,400")
    return ends[0], ends[1]


def data_options(limit: int | None, merge: list[str] | None, on_bad_image: str) -> dict[str, Any]:
    """What a person says of the images, likewise."""
    return {
        "limit": limit,
        "merge": merged(merge),
        "on_bad_image": choice("--on-bad-image", on_bad_image, "fail", "skip"),
    }


def command_line() -> str:
    """What the person typed, ready to be pasted into a shell."""
    return shlex.join(["robaudit", *sys.argv[1:]])
