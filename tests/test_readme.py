"""The README and docs/ say nothing that the program, the Makefile or the file tree does not have."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import robaudit
import robaudit.errors
import robaudit.records
from robaudit.cli.main import app

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
PAGES = [README, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md", *sorted(REPOSITORY.glob("docs/*.md"))]
LARGEST_PICTURE = 200_000

GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands  # type: ignore[attr-defined]
FLAGS = {
    name: {flag for option in command.params for flag in option.opts if flag.startswith("--")} | {"--help"}
    for name, command in {"": GROUP, **COMMANDS}.items()
}
PROGRAM = ("robaudit ", ".venv/bin/robaudit ")
OTHER_PROGRAMS = ("python", ".venv/bin/python", "pip", "ray ", "srun ", "#SBATCH ")
FRAME = re.compile(r"[╭╮╰╯─│┌┐└┘|+]|\x1b\[[0-9;]*m|<bool>")
"""What differs between terminals and versions of typer without saying anything else."""

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_help(text: str) -> str:
    """Leave out the block that is compared with the program as a whole."""
    return re.sub(r"```\n\$ robaudit --help.*?```", "", text, flags=re.DOTALL)


def code(text: str) -> Iterator[str]:
    """Yield every line of code: indented, fenced or between backticks."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("    "):
            yield line.strip()
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        yield from map(str.strip, block.splitlines())
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every call of robaudit as its command and its flags."""
    for line in code(text):
        words = shlex.split(re.sub(r"[][]", " ", line), comments=True) if line.startswith(PROGRAM) else []
        if len(words) > 1:
            command = words[1] if not words[1].startswith("-") else ""
            yield command, [word.partition("=")[0] for word in words if word.startswith("--")]


def test_the_help_shown_is_the_programs() -> None:
    shown = re.search(r"```\n\$ robaudit --help\n(.*?)```", text_of(README), re.DOTALL)
    assert shown is not None
    printed = CliRunner().invoke(app, ["--help"], prog_name="robaudit", env={"COLUMNS": "100"}).output
    assert FRAME.sub(" ", shown[1]).split() == FRAME.sub(" ", printed).split(), "paste what `robaudit --help` prints"


@by_page
def test_every_call_names_a_command_and_flags_it_has(page: Path) -> None:
    for command, flags in calls(without_help(text_of(page))):
        assert command in FLAGS, f"robaudit {command}"
        assert set(flags) <= FLAGS[command], f"robaudit {command}"


@by_page
def test_every_flag_mentioned_exists(page: Path) -> None:
    lines = [line for line in code(without_help(text_of(page))) if not line.startswith(OTHER_PROGRAMS)]
    mentioned = {flag for line in lines for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)}
    assert mentioned <= set().union(*FLAGS.values())


def test_the_readme_shows_every_command() -> None:
    shown = {command for command, _ in calls(text_of(README))} | {"demo"}
    assert COMMANDS.keys() <= shown


@by_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(REPOSITORY / "Makefile"), re.MULTILINE))
    named = {line.split()[1] for line in code(text_of(page)) if re.match(r"make [a-z-]+", line)}
    assert named <= targets


@by_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        file, _, heading = target.partition("#")
        if "://" in file:
            continue
        linked = page.parent / file if file else page
        assert linked.exists(), target
        assert not heading or heading in headings(linked), target


def headings(page: Path) -> set[str]:
    """Return the anchors that a page's headings make on the usual hosts."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_index_lists_every_page() -> None:
    index = text_of(REPOSITORY / "docs" / "README.md")
    pages = {page.name for page in REPOSITORY.glob("docs/*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\((\S+?\.md)\)", index))


def test_the_exit_codes_are_the_programs() -> None:
    table = text_of(README).split("## Exit codes")[1].split("##")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(robaudit.errors.ExitCode)


@by_page
def test_python_shown_is_python_and_its_names_exist(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL):
        compile(block, str(page), "exec")
        for statement in re.findall(r"^(?:from robaudit.*|import robaudit.*)$", block, re.MULTILINE):
            exec(statement, {})
        for name in re.findall(r"\brobaudit\.(\w+)\(", block):
            assert callable(getattr(robaudit, name))


def test_the_page_on_python_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for the stages of the whole job, whose arguments alone are looked at."""
    for number in range(8):
        folder = tmp_path / "data" / ("cancer", "no-cancer")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "robaudit.toml").write_text('[[rule]]\nmeasure = "images"\nat_least = 9\n')
    monkeypatch.chdir(tmp_path)
    for stage in ("_say_estimate", "divided", "_run_stages"):
        monkeypatch.setattr(f"robaudit.job.run.{stage}", lambda *_, **__: None)
    said: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text_of(REPOSITORY / "docs" / "python.md"), re.DOTALL):
        exec(block, said)
    printed = capsys.readouterr().out
    assert "nowhere.pt: " in printed
    assert "images: 8, grey, attacked in one channel" in printed
    assert printed.endswith("failed 1\n")


def test_the_pictures_are_small_and_shown() -> None:
    pictures = list((REPOSITORY / "docs" / "pictures").glob("*.png"))
    assert pictures
    assert all(picture.stat().st_size < LARGEST_PICTURE for picture in pictures)
    pages = "".join(map(text_of, PAGES))
    assert {picture.name for picture in pictures} <= set(re.findall(r"pictures/([\w-]+\.png)\)", pages))


def test_the_tables_of_the_records_are_those_of_the_source() -> None:
    spec = spec_from_file_location("records_page", REPOSITORY / "docs" / "records_page.py")
    assert spec is not None
    assert spec.loader is not None
    writer = module_from_spec(spec)
    spec.loader.exec_module(writer)
    shown = text_of(writer.PAGE).partition(writer.MARKER)[2].strip()
    assert shown == writer.tables().strip(), "run python docs/records_page.py"
    assert "|  |" not in shown, "a field has no explanation"
    undocumented = {
        (record.__name__, name)
        for record in vars(robaudit.records).values()
        if isinstance(record, type) and issubclass(record, robaudit.records.Record)
        for name, field in record.model_fields.items()
        if field.description is None
    }
    assert set(writer.PLAIN) <= undocumented, "explained twice, or a field that is gone"
