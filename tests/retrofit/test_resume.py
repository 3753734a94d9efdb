"""A training that is killed goes on, to the very weights that it would have reached."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from robaudit.errors import OutputError
from robaudit.load.model import load_model
from robaudit.progress import Silent
from robaudit.retrofit import assimilate as retrofit
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.before_training import with_front
from robaudit.retrofit.settings import train_config
from robaudit.retrofit.state import Standing, StateFile
from robaudit.retrofit.train import _optimiser
from robaudit.retrofit.workplace import workplace

SETTINGS = {
    "epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "robust": "fgsm", "augment": "flip,shift", "seed": 5,
}  # fmt: skip

KILLED = """
import os, signal, sys
import torch
from robaudit.progress import Silent
from robaudit.retrofit.assimilate import assimilate

torch.set_num_threads({n_threads})

class Killer(Silent):
    def advance(self, n=1, note=""):
        if note.startswith("epoch 3/"):
            os.kill(os.getpid(), signal.SIGKILL)

assimilate({model!r}, {data!r}, out={out!r}, progress=Killer(), **{settings!r})
"""


class Interrupting:
    """Progress that ends training in the middle of an epoch, as Ctrl-C does."""

    def __init__(self, epoch):
        self._epoch = epoch

    def start(self, stage, total, done=0):
        pass

    def asking(self, images):
        pass

    def advance(self, n=1, note=""):
        if note.startswith(f"epoch {self._epoch}/"):
            raise KeyboardInterrupt

    def finish(self):
        pass

    def say(self, line):
        pass


def rows(folder):
    """Metrics without the times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def test_killed_and_continued_is_the_same_as_never_killed(model, data, tmp_path):
    whole = assimilate(model, data, out=tmp_path / "whole", **SETTINGS)
    out = tmp_path / "killed"
    script = KILLED.format(
        model=str(model), data=str(data), out=str(out), settings=SETTINGS, n_threads=torch.get_num_threads()
    )
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=dict(os.environ))
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert not out.exists()
    again = assimilate(model, data, out=out, **SETTINGS)
    assert again.weights.sha256 == whole.weights.sha256
    assert rows(out) == rows(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


def interrupted(model, data, out, **changes):
    with pytest.raises(KeyboardInterrupt):
        assimilate(model, data, out=out, progress=Interrupting(2), **(SETTINGS | changes))


def test_epochs_done_before_an_interruption_count_as_done_from_the_start(model, data, tmp_path):
    """They took no time now, and would make the time that is left look short."""

    class Counting(Silent):
        done = 0

        def say(self, line):
            if line.startswith("up to"):
                self.announced = line

        def start(self, stage, total, done=0):
            if stage == "training":
                self.total, self.done_before, self.done = total, done, done

        def advance(self, n=1, note=""):
            self.done += n if note.startswith("epoch") else 0

    interrupted(model, data, tmp_path / "out")
    counting = Counting()
    assimilate(model, data, out=tmp_path / "out", progress=counting, **SETTINGS)
    assert counting.total - counting.done_before == 2 * 16
    assert counting.announced.startswith("up to 2 more epochs of about")
    assert counting.done == counting.total


def test_an_unfinished_training_of_other_settings_needs_restart(model, data, tmp_path):
    out = tmp_path / "out"
    interrupted(model, data, out)
    with pytest.raises(OutputError, match="unfinished training with other settings; use --restart"):
        assimilate(model, data, out=out, **(SETTINGS | {"seed": 6}))
    record = assimilate(model, data, out=out, restart=True, **(SETTINGS | {"seed": 6, "epochs": 1}))
    assert record.n_epochs == 1
    assert len(rows(out)) == 2


@pytest.mark.parametrize("seed", [5, 6], ids=["same settings", "other settings"])
def test_an_interrupted_restart_goes_on_without_restart(model, data, tmp_path, heard_lines, seed):
    out = tmp_path / "out"
    older = assimilate(model, data, out=out, **SETTINGS)
    interrupted(model, data, out, restart=True, seed=seed)
    (out / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"holds notes\.txt, which robaudit assimilate did not write"):
        assimilate(model, data, out=out, **(SETTINGS | {"seed": seed}))
    (out / "notes.txt").unlink()
    identity = tmp_path / ".out.unfinished" / "identity.json"
    began = json.loads(identity.read_text())
    identity.write_text(json.dumps({**began, "place": {**began["place"], "threads": 96}}))
    again = assimilate(model, data, out=out, progress=heard_lines, **(SETTINGS | {"seed": seed}))
    assert "going on after epoch 1" in heard_lines.lines
    assert f"warning: began with threads 96, here {torch.get_num_threads()}; it goes on" in "".join(heard_lines.lines)
    assert again.created > older.created
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_damaged_state_is_told_with_the_way_out(model, data, tmp_path):
    """Cut short, or with one bit of a weight, of what describes them or of the hash the other way."""
    out = tmp_path / "out"
    interrupted(model, data, out)
    state = tmp_path / ".out.unfinished" / "state.pt"
    good = state.read_bytes()

    def flipped(place):
        return good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :]

    damaged = [b"", b"half a file", good[:-50], flipped(len(good) // 2), flipped(good.index(b"data.pkl") + 500)]
    damaged += [flipped(0), flipped(len(good) - 1)]
    classifier, config = with_front(load_model(model), 1, seed=0), train_config(**SETTINGS)
    now = Standing(classifier, _optimiser(classifier, config), torch.Generator(), "fgsm")
    assert StateFile(state).restore(now)
    for content in damaged:
        state.write_bytes(content)
        with pytest.raises(OutputError, match="cannot be read; use --restart"):
            StateFile(state).restore(now)
    torch.save({"epoch": 1}, state)
    with pytest.raises(OutputError, match="cannot be read; use --restart"):
        assimilate(model, data, out=out, **SETTINGS)
    state.write_bytes(good)
    told = tmp_path / ".out.unfinished" / "metrics.jsonl"
    lines = told.read_bytes()
    told.write_bytes(bytes([lines[0] ^ 0x80]) + lines[1:])
    with pytest.raises(OutputError, match=r"metrics\.jsonl: cannot be read; use --restart"):
        assimilate(model, data, out=out, **SETTINGS)
    told.write_bytes(lines)
    assert assimilate(model, data, out=out, **SETTINGS).n_epochs == 3


def test_the_place_of_a_training_that_has_moved_may_be_anothers(tmp_path):
    with workplace(tmp_path / "out") as folder:
        folder.rename(tmp_path / "out")
        folder.mkdir()
        (folder / "identity.json").write_text("{}")
    assert (folder / "identity.json").exists()
    with workplace(tmp_path / "other") as folder:
        pass
    assert not folder.exists()


def test_nothing_stays_of_a_training_interrupted_in_its_first_epoch(model, data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        assimilate(model, data, out=tmp_path / "out", progress=Interrupting(1), **SETTINGS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_program_that_was_copied_before_the_end_is_no_obstacle(data, tmp_path, monkeypatch):
    """Killed between the copy of the model's program and the last step: the same command finishes."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    torch.jit.trace(network, torch.rand(2, 3, 40, 40)).save(tmp_path / "program.pt")
    settings = {"epochs": 1, "normalization": "half", "input_size": (40, 40)}

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(retrofit, "write_learnt", killed)
        with pytest.raises(KeyboardInterrupt):
            assimilate(tmp_path / "program.pt", data, out=tmp_path / "out", **settings)
    record = assimilate(tmp_path / "program.pt", data, out=tmp_path / "out", **settings)
    assert record.n_epochs == 1
    copied = tmp_path / "out" / "program" / "program.pt"
    assert copied.read_bytes() == (tmp_path / "program.pt").read_bytes()
    assert assimilate(tmp_path / "program.pt", data, out=tmp_path / "out", **settings) == record
    copied.write_bytes(copied.read_bytes()[:-1])
    with pytest.raises(OutputError, match=r"program\.pt: is not what training left; use --restart"):
        assimilate(tmp_path / "program.pt", data, out=tmp_path / "out", **settings)


def test_two_trainings_do_not_share_a_folder(model, data, tmp_path):
    class Second(Interrupting):
        def advance(self, n=1, note=""):
            if note.startswith("epoch 1/"):
                with pytest.raises(OutputError, match=r"another robaudit .* is writing here"):
                    assimilate(model, data, out=tmp_path / "out", **SETTINGS)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assimilate(model, data, out=tmp_path / "out", progress=Second(1), **SETTINGS)
