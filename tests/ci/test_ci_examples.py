"""examples/ci and action.yml: valid for the servers they are for, and their commands really run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import typer
import yaml
from phantom_repository import EXAMPLES, REPOSITORY, SCAN, run

from robaudit.cli.main import app
from robaudit.errors import ExitCode

ACTION = REPOSITORY / "action.yml"
WORKFLOW, GITLAB = EXAMPLES / "github-workflow.yml", EXAMPLES / "gitlab-ci.yml"
JENKINS, PRE_COMMIT = EXAMPLES / "Jenkinsfile", EXAMPLES / "pre-commit-config.yaml"
FLAGS = {
    name: {flag for option in command.params for flag in option.opts}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
INSTALLS = re.compile(r"pip install|/bin/pip")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def action_step(name: str) -> dict[str, Any]:
    return next(step for step in read(ACTION)["runs"]["steps"] if step["name"] == name)


def jenkins_scripts() -> list[str]:
    """What `sh` is given, with Groovy's line continuation undone."""
    text = JENKINS.read_text(encoding="utf-8")
    found = re.findall(r"sh '([^'\n]+)'|script: '''(.*?)'''", text, re.DOTALL)
    return [re.sub(r"\\\n", " ", short or long) for short, long in found]


def scripts(path: Path) -> list[str]:
    """What a file runs, but for installing."""
    if path == JENKINS:
        found = jenkins_scripts()
    elif path == GITLAB:
        found = read(path)["robustness"]["script"]
    elif path == PRE_COMMIT:
        found = [hook["entry"] for repo in read(path)["repos"] for hook in repo["hooks"]]
    elif path == ACTION:
        found = [action_step("Judge")["run"]]
    else:
        found = [step["run"] for step in read(path)["jobs"]["audit"]["steps"] if "run" in step]
    return [script for script in found if not INSTALLS.search(script)]


EVERY = pytest.mark.parametrize("path", [ACTION, WORKFLOW, GITLAB, JENKINS, PRE_COMMIT], ids=lambda path: path.name)


@pytest.mark.parametrize(
    ("path", "schema"),
    [(ACTION, "github-actions"), (WORKFLOW, "github-workflows"), (GITLAB, "gitlab-ci")],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_servers_own_schema_accepts_it(path: Path, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pre_commit_accepts_its_configuration() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(PRE_COMMIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pipeline_of_jenkins_is_balanced() -> None:
    bare = re.sub(r"//.*|'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"", "", JENKINS.read_text("utf-8"), flags=re.DOTALL)
    for opening, closing in ("{}", "()", "[]"):
        assert bare.count(opening) == bare.count(closing)


def test_findings_are_uploaded_where_the_gate_has_judged() -> None:
    """Of input that cannot be used there is no SARIF file, and the upload would fail beside the step that says why."""
    [upload] = [step for step in read(WORKFLOW)["jobs"]["audit"]["steps"] if "upload-sarif" in step.get("uses", "")]
    condition = re.fullmatch(
        r"always\(\) && contains\(fromJSON\('(.*)'\), steps\.judge\.outputs\.exit-code\)", upload["if"]
    )
    assert condition is not None
    judged = {ExitCode.OK, ExitCode.GATE_FAILED, ExitCode.INCONCLUSIVE}
    assert set(json.loads(condition[1])) == {str(int(code)) for code in judged}


def calls(path: Path) -> Iterator[list[str]]:
    for script in scripts(path):
        for line in re.sub(r"\\\n", " ", script).splitlines():
            for call in re.findall(r"robaudit (?:scan|gate|compare|badge)[^|;&\n]*", line):
                yield shlex.split(re.sub(r"\$\{\w+:\+([^}]*)\}", r"\1", call))


@EVERY
def test_every_command_has_the_flags_it_is_given(path: Path) -> None:
    found = list(calls(path))
    assert found
    for _, command, *arguments in found:
        assert {argument for argument in arguments if argument.startswith("--")} <= FLAGS[command]
        if command == "scan":
            assert all(word in arguments for word in SCAN), "the tests scan as the examples do"


def judge(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run all of a file, but for installing, as its server would."""
    if path != ACTION:
        return run("\n".join(scripts(path)), folder, CI="true")
    asked = {"audit": "out/audit/audit.json", "baseline": "baseline/audit.json"}
    inputs = {name: asked.get(name, declared.get("default")) for name, declared in read(ACTION)["inputs"].items()}
    step = action_step("Judge")
    environment = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], value)
        for name, value in step["env"].items()
    }
    github = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(folder / "output")}
    github["GITHUB_STEP_SUMMARY"] = str(folder / "summary.md")
    return run(step["run"], folder, **environment, **github)


@pytest.fixture(scope="session")
def judged(
    original: Path, worse: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path, str], tuple[Path, subprocess.CompletedProcess[str]]]:
    """Run a file in a copy of a repository, once; returns the copy and how it ended."""

    @cache
    def run_once(path: Path, repository: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
        folder = tmp_path_factory.mktemp("judged") / "repository"
        shutil.copytree(worse if repository == "worse" else original, folder)
        return folder, judge(path, folder)

    return run_once


Judged = Callable[[Path, str], tuple[Path, subprocess.CompletedProcess[str]]]


SLOW = {GITLAB: pytest.mark.slow}
"""Its scan is the one of the others, and its run on a worse model is looked at below."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.name, marks=SLOW.get(path, ()))
        for path in (ACTION, WORKFLOW, GITLAB, JENKINS, PRE_COMMIT)
    ],
)
def test_a_model_that_did_not_change_passes(path: Path, judged: Judged) -> None:
    _, done = judged(path, "original")
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout


@pytest.mark.parametrize("path", [ACTION, GITLAB], ids=lambda path: path.name)
def test_a_model_that_got_worse_stops_the_pipeline(path: Path, judged: Judged) -> None:
    _, done = judged(path, "worse")
    assert done.returncode == 1, done.stderr
    assert "failed" in done.stdout


def test_the_action_leaves_what_its_outputs_name(judged: Judged) -> None:
    folder, _ = judged(ACTION, "worse")
    assert "exit-code=1\n" in (folder / "output").read_text()
    assert "## robaudit gate: failed" in (folder / "summary.md").read_text()
    results = read(ACTION)["inputs"]["results"]["default"]
    for output in ("sarif", "junit"):
        named = read(ACTION)["outputs"][output]["value"].replace("${{ inputs.results }}", results)
        assert (folder / named).stat().st_size > 0


def test_gitlab_finds_its_reports_where_the_job_names_them(judged: Judged) -> None:
    folder, _ = judged(GITLAB, "worse")
    artifacts = read(GITLAB)["robustness"]["artifacts"]
    for path in (*artifacts["reports"].values(), *artifacts["paths"]):
        assert (folder / path).exists(), path
    assert len(ET.parse(folder / artifacts["reports"]["junit"]).findall("*/testcase/failure")) >= 1


def test_jenkins_finds_its_page_and_reports(judged: Judged) -> None:
    folder, _ = judged(JENKINS, "original")
    text = JENKINS.read_text(encoding="utf-8")
    for pattern in (r"testResults: '([^']+)'", r"pattern: '([^']+)'"):
        assert all((folder / name).is_file() for name in re.findall(pattern, text))
    place, page = re.search(r"reportDir: '([^']+)', reportFiles: '([^']+)'", text).groups()  # type: ignore[union-attr]
    assert (folder / place / page).is_file()
    assert (folder / place / "report.css").is_file()


def test_the_action_installs_what_the_project_asks_for() -> None:
    declared = re.findall(r'^  "([^"]+)",', (REPOSITORY / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    installed = re.findall(r'"([\w-]+[<>=][^"]*)"', action_step("Install")["run"])
    assert len(installed) == 4
    assert set(installed) <= set(declared)


def test_judging_needs_no_more_than_the_action_installs(original: Path) -> None:
    """With torch and the rest absent, not merely unused."""
    allowed = [re.match(r"[\w-]+", name)[0] for name in re.findall(r'"([\w-]+[<>=])', action_step("Install")["run"])]  # type: ignore[index]
    assert "scipy" in allowed
    absent = {"torch", "timm", "foolbox", "skimage", "jinja2", "safetensors", "PIL"} - set(allowed)
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name.partition('.')[0] in {sorted(absent)!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.argv = ['robaudit', 'gate', 'out/audit/audit.json', '--policy', 'robaudit.toml', "
        "'--baseline', 'baseline/audit.json', '--sarif', 'without-torch.sarif']\n"
        "from robaudit.cli.main import main; main()"
    )
    done = run(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}", original)
    assert done.returncode == 0, done.stderr
    (original / "without-torch.sarif").unlink()
