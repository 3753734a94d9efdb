"""Every example runs, with the small settings that its own docstring ends with."""

import ast
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from robaudit.gates.gate import gate
from robaudit.gates.policy import read_policy
from robaudit.records import read_audit

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = sorted(
    file for file in (REPOSITORY / "examples").rglob("*.py") if "__main__" in file.read_text(encoding="utf-8")
)
PAPER = REPOSITORY / "examples" / "paper" / "table.py"


def quick_command(example: Path) -> list[str]:
    """Return the arguments of the last command that the docstring shows."""
    docstring = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""
    commands = [line.strip() for line in docstring.splitlines() if line.strip().startswith("python ")]
    assert commands, f"{example.name}: its docstring shows no command to run"
    _, script, *arguments = shlex.split(commands[-1])
    assert script == example.relative_to(REPOSITORY).as_posix()
    return arguments


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda example: example.stem)
def ran(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, paper: Callable[..., None]
) -> tuple[Path, Path, str]:
    """Return an example, the folder it ran in, and what it printed."""
    example, folder = request.param, tmp_path_factory.mktemp(request.param.stem)
    if example == PAPER:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
            patch.chdir(folder)
            paper(*quick_command(example))
        return example, folder, printed.getvalue()
    done = subprocess.run(
        [sys.executable, str(example), *quick_command(example)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::DeprecationWarning:__main__"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return example, folder, done.stdout


def test_it_runs_with_the_command_it_documents(ran: tuple[Path, Path, str]) -> None:
    example, folder, printed = ran
    assert printed
    assert "Traceback" not in printed
    assert [file.name for file in folder.iterdir()] == ["out"], f"{example.name} writes beside --out"


def test_the_whole_job_leaves_two_audits_and_a_page(ran: tuple[Path, Path, str]) -> None:
    example, folder, printed = ran
    if example.stem != "audit_retrofit_compare":
        pytest.skip("says something about another example")
    out = folder / "out" / "tried"
    before, after = (read_audit(out / side / "audit.json") for side in ("before", "after"))
    assert before.data.sha256 == after.data.sha256
    assert before.model.front is None
    assert after.model.front is not None
    assert after.model.front.vanilla.sha256 == before.model.sha256
    assert json.loads((out / "assimilated" / "training.json").read_text(encoding="utf-8"))["n_epochs"] == 1
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "Synthetic images" in page
    verdicts = gate(after, policy=read_policy(REPOSITORY / "examples" / "robaudit.toml"), baseline=before)
    assert printed.splitlines()[-1].startswith(f"gate: {verdicts.outcome}")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory, paper: Callable[..., None]) -> tuple[Path, list[str], str]:
    """The folder of the paper's vanilla arm alone, the arguments it was made with, and what was printed."""
    out = tmp_path_factory.mktemp("paper") / "out"
    arguments = shlex.split("--limit 8 --test-limit 6 --eps 4 --arms vanilla --precision bfloat16 --out")
    arguments += [str(out)]
    with redirect_stdout(StringIO()) as printed:
        paper(*arguments, "--epochs", "1")
    return out, arguments, printed.getvalue()


def test_the_papers_table_attacks_as_many_images_as_asked(tried: tuple[Path, list[str], str]) -> None:
    """--limit bounds what is learnt from, --test-limit what is attacked; --precision reaches training and attacks."""
    cell = tried[0] / "phantoms" / "test_resnet" / "seed-0" / "vanilla"
    audit = read_audit(cell / "audit" / "audit.json")
    trained = json.loads((cell / "model" / "training.json").read_text(encoding="utf-8"))
    assert audit.data.per_class == {"healthy": 3, "lesion": 3}
    assert trained["train"]["n_images"] == trained["val"]["n_images"] == 8
    assert (audit.environment.precision, trained["settings"]["precision"]) == ("bfloat16", "bfloat16")


def test_the_papers_table_holds_every_cell_and_says_which_were_not_run(
    paper: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No time at all: the whole grid is shown, none of it measured."""
    paper("--out", str(tmp_path / "out"), "--minutes", "0", "--seeds", "0,1", "--eps", "4,8")
    printed = capsys.readouterr().out
    lines = printed.splitlines()[2:]
    assert len(lines) == 4 * 2
    assert all(line.count("not run") == 3 for line in lines)
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8") == printed


def test_the_papers_table_shows_nothing_of_other_settings_and_ends_as_a_failure(
    paper: Callable[..., None], capsys: pytest.CaptureFixture[str], tried: tuple[Path, list[str], str]
) -> None:
    _, arguments, printed = tried
    assert "not run" not in printed
    with pytest.raises(SystemExit, match="1 of 1 cells cannot be run"):
        paper(*arguments, "--epochs", "2")
    printed, said = capsys.readouterr()
    assert printed.splitlines()[-1].endswith("| vanilla |  |  | not run | not run |")
    assert "made with other settings" in said


@pytest.mark.parametrize("option", ["--set", "--backbone"])
def test_the_papers_table_wants_a_name_and_a_path(
    paper: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        paper(option, "chest-ct", "--out", str(tmp_path))
    assert ended.value.code == 2
    assert "chest-ct: wanted a name and a path" in capsys.readouterr().err
