"""Audit a classifier, retrofit it, audit it again, compare and judge: the whole job from Python.

On generated phantoms and a small classifier trained on the spot, or on your own model and images:

    python examples/audit_retrofit_compare.py --out out/example
    python examples/audit_retrofit_compare.py --model model.pt --data data/ --out out/mine

In under a minute, to see that it works (what it finds on so few images means nothing):

    python examples/audit_retrofit_compare.py --preset quick --limit 2 --epochs 1 --eps 1,8 --out out/tried
"""

import argparse
from pathlib import Path

import robaudit
from robaudit.gates.policy import read_policy
from robaudit.job.phantoms import NOTE, SIDE, write_phantoms
from robaudit.job.small_classifier import train_small_classifier
from robaudit.progress import Silent

POLICY = Path(__file__).with_name("robaudit.toml")


def main() -> None:
    options = read_options()
    out, note = options.out, None
    if options.model is None:
        options.model, options.data, note = out / "model", out / "data", NOTE
        write_phantoms(options.data, seed=0, progress=Silent())
        train_small_classifier(options.data, options.model, (SIDE, SIDE), seed=0, progress=Silent())

    # The two audits must attack the same images in the same way, so they share their settings.
    measuring = {"preset": options.preset, "eps": options.eps, "limit": options.limit, "note": note}

    before = robaudit.scan(options.model, options.data, out=out / "before", **measuring)
    print("before:", before.verdict.sentence)

    training = robaudit.assimilate(
        options.model, options.data, out=out / "assimilated", epochs=options.epochs, limit=options.limit
    )
    print(f"retrofit: {training.modules} in front, epoch {training.best.epoch} of {training.n_epochs} kept")

    after = robaudit.scan(out / "assimilated", options.data, out=out / "after", **measuring)
    print("after:", after.verdict.sentence)

    page = robaudit.compare(out / "before" / "audit.json", out / "after" / "audit.json", out=out / "report")
    print("report:", page)

    verdicts = robaudit.gate(after, policy=read_policy(POLICY), baseline=before)
    print(*verdicts.rules, sep="\n")
    print(f"gate: {verdicts.outcome}; a pipeline would exit {verdicts.exit_code:d}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model file or folder; none: a small classifier is trained")
    parser.add_argument("--data", type=Path, help="folder with train, val and test folders of classes")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--preset", choices=("quick", "default", "thorough"), default="default", help="the attacks")
    parser.add_argument("--limit", type=int, help="use at most so many images of each part")
    parser.add_argument("--epochs", type=int, help="train for at most so many epochs")
    parser.add_argument("--eps", type=lambda text: [int(part) for part in text.split(",")], default=list(range(1, 9)))
    options = parser.parse_args()
    if (options.model is None) != (options.data is None):
        parser.error("--model and --data belong together")
    return options


if __name__ == "__main__":
    main()
