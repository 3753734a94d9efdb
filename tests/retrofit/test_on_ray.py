"""A training shared out among workers is the training of one process with the same batches, whoever dies on the way."""

import json
import os
import sys
import warnings

import pytest

from robaudit.retrofit.assimilate import assimilate

SETTINGS = {"epochs": 3, "batch_size": 5, "seed": 5, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def two_cores():
    """A Ray of this machine's own."""
    ray = pytest.importorskip("ray", reason="the extra [ray] is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        ray.init(
            num_cpus=2, address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
        )  # fmt: skip
        yield
        ray.shutdown()


def rows(folder):
    """Metrics without the times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def test_two_workers_train_as_one_process_does(two_cores, model, data, tmp_path):
    settings = SETTINGS | {"trains": "front", "augment": "flip,shift"}
    alone = assimilate(model, data, out=tmp_path / "alone", **settings)
    together = assimilate(model, data, out=tmp_path / "together", engine="ray", workers=2, **settings)
    for one, two in zip(rows(tmp_path / "alone"), rows(tmp_path / "together"), strict=True):
        print(one, two)
    assert (together.engine, together.workers) == ("ray", 2)
