"""What the documents say is true: their code runs, their tables agree with the code, their links lead somewhere.

Blocks of ```sh and ```python are run in order, in a folder with the recordings and checkpoints that they name. A block
marked `no-run` needs a network, a microphone or an administrator; its commands are only parsed. A ```text block after a
block shows lines of its output.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import av
import click
import pytest
from documents import (
    ALL,
    ROOT,
    RUN,
    blocks,
    expected_in,
    free_port,
    headings,
    links,
    parse_line,
    run_line,
    section,
    start_server,
    table,
)

import mlx_canary
from mlx_canary import CANARY_MODELS, ConversionConfig, convert
from mlx_canary.cli.main import COMMANDS, cli
from mlx_canary.evaluate import packages as evaluate
from mlx_canary.longform.guards import LOOP, NO_SPEECH, TOO_LONG, TOO_SHORT, UNFINISHED, UNSURE, describe
from mlx_canary.serve import packages as serve
from mlx_canary.text.languages import LANGUAGE_NAMES
from mlx_canary.writers.names import PLACEHOLDERS

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings the same under another name
    import tomli as tomllib

README, ARCHITECTURE, CLI = ROOT / "README.md", ROOT / "docs/architecture.md", ROOT / "docs/cli.md"
CONVERSION, HOSTILE = ROOT / "docs/conversion.md", ROOT / "docs/hostile-files.md"
PYTHON, JSON = ROOT / "docs/python.md", ROOT / "docs/json.md"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA = ROOT / "tests" / "data"
SPEECH = DATA / "audio/speech_7s01.wav"

# The documents' recordings, all of the same seven seconds, and the small checkpoints that stand for the published ones.
RECORDINGS = ("recording.m4a", "talk.m4a", "talk.mp3", "vortrag.mp3", "interviews/one.mp3", "interviews/two.mp3")
CHECKPOINTS = {
    "canary-180m-flash.nemo": "canary2-flash.nemo",
    "canary-1b-v2.nemo": "canary2-unified.nemo",
    "canary-1b.nemo": "canary1-agg-gz.nemo",
}
# The first of these as a folder, which some documents make themselves.
MODEL = "my-canary"
NOT_RUN = [
    pytest.param(line, id=f"{block.place} {line}"[:100])
    for document in RUN
    for block in blocks(document)
    if block.language in ("sh", "python") and not block.runs
    for line in block.lines()
]
# What a line that is not run may begin with, apart from the program itself.
# Measuring takes minutes to hours.
OUR_SCRIPTS = ("python benchmarks/", "python tools/")
SERVE = "mlx-canary serve "
OTHER_PROGRAMS = ("pip install", "sudo apt install", "scripts/", "hf download")


def by_name(path: Path) -> str:
    return path.name


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the documents' code finds in its own."""
    folder = tmp_path_factory.mktemp("documents")
    for name in RECORDINGS:
        (folder / name).parent.mkdir(exist_ok=True)
        transcode(SPEECH, folder / name)
    for name, source in CHECKPOINTS.items():
        shutil.copyfile(DATA / "models" / source, folder / name)
    convert(ConversionConfig(nemo_file=folder / "canary-180m-flash.nemo", output_dir=folder / MODEL))
    return folder


@pytest.fixture
def workplace(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the prepared folder to work in."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def servers() -> Iterator[list[subprocess.Popen[str]]]:
    """Those that a document starts; ended with it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for server in started:
        server.terminate()
        server.communicate(timeout=300)


def makes_model(document: Path) -> bool:
    """Whether the first that a document does with the model is to convert it."""
    lines = (line for block in blocks(document) for line in block.text.splitlines() if MODEL in line)
    return "mlx-canary convert" in next(lines, "")


def transcode(source: Path, target: Path) -> None:
    """The same sound in the container that the target's name says."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        rate = read.streams.audio[0].rate
        stream = written.add_stream("aac" if target.suffix == ".m4a" else "mp3", rate=rate, layout="mono")
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for frame in read.decode(audio=0):
            for piece in resampler.resample(frame):
                written.mux(stream.encode(piece))
        written.mux(stream.encode(None))


@pytest.mark.parametrize("document", RUN, ids=by_name)
def test_code_runs(
    document: Path, workplace: Path, servers: list[subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block, in order; Python blocks of a document share their names. A server runs until the document ends."""
    if makes_model(document):
        shutil.rmtree(workplace / MODEL)
    names: dict[str, object] = {"__name__": "__main__"}
    output, port = "", str(free_port())
    for block in blocks(document):
        block = block._replace(text=block.text.replace("8000", port))
        if block.language == "text" and output:
            missing = expected_in(output, block.text)
            assert missing is None, f"{block.place} shows {missing!r}, which is not in the output:\n{output}"
        if not block.runs:
            output = ""
        elif block.language == "python":
            # As many empty lines before it as the document has, so that a traceback names the document's line.
            exec(compile("\n" * (block.line - 1) + block.text, block.document, "exec"), names)
            output = capsys.readouterr().out
        elif block.language == "sh":
            servers.extend(start_server(line) for line in block.lines() if line.startswith(SERVE))
            codes = [(line, run_line(line)) for line in block.lines() if not line.startswith(SERVE)]
            printed = capsys.readouterr()
            output = printed.out + printed.err
            assert not [line for line, code in codes if code], f"{block.place} failed:\n{output}"


@pytest.mark.parametrize("line", NOT_RUN)
def test_commands_that_are_not_run_exist(line: str) -> None:
    """Each is listed by its name, so that nobody forgets how many there are."""
    if "mlx-canary" in line:
        parse_line(line)
    elif line.startswith(OUR_SCRIPTS):
        assert (ROOT / line.split()[1]).is_file(), f"{line!r} names no script of ours"
    else:
        assert line.startswith(OTHER_PROGRAMS), f"{line!r} is not run. Is that necessary?"


def test_only_blocks_that_need_it_are_not_run() -> None:
    """A block that could run must run: unrun `mlx-canary` lines name something that a download or a person gives."""
    for document in RUN:
        for block in blocks(document):
            assert block.info in ("", "no-run"), f"{block.place} has the unknown marker {block.info!r}"
            reasons = (
                *CANARY_MODELS,
                "pip install",
                "apt install",
                "https://",
                "scripts/",
                "hf download",
                "live",
                *OUR_SCRIPTS,
            )
            if block.language in ("sh", "python") and not block.runs:
                assert any(reason in block.text for reason in reasons), f"{block.place} could be run"


def test_first_command_of_the_readme(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its parts exist: the extra, the recording, the command. The last part is run, in the repository."""
    first, shown = list(blocks(README))[:2]
    environment, install, transcribe = first.text.split(" && ")
    assert environment == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install '.[cpu]'"
    assert "cpu" in PYPROJECT["project"]["optional-dependencies"]
    assert "mlx-canary" in PYPROJECT["project"]["scripts"]
    monkeypatch.chdir(ROOT)
    assert run_line(transcribe.removeprefix(".venv/bin/")) == 0
    assert capsys.readouterr().out.strip() == shown.text.strip()


def test_errors_name_the_packages_of_their_extras() -> None:
    extras = {
        name: {re.split(r"[<>=\[]", package)[0] for package in packages}
        for name, packages in PYPROJECT["project"]["optional-dependencies"].items()
    }
    assert {module.replace("_", "-") for module in serve.NEEDED} == extras["serve"] - {
        "h11",
        "starlette",
    }  # uvicorn's and fastapi's
    assert set(evaluate.COMMAND.split()) - {"pip", "install"} == extras["evaluate"]


def test_second_command_of_the_readme_exists() -> None:
    commands = [block.text for block in blocks(README) if not block.runs]
    assert "scripts/test" in commands
    assert (ROOT / "scripts/test").stat().st_mode & 0o100


def test_sections_of_the_readme() -> None:
    wanted = ("installation", "quick-start", "model-variants", "language-support", "performance-benchmarks", "limits")
    assert [anchor for anchor in headings(README) if anchor in wanted] == list(wanted)


def test_model_variants_are_those_of_the_registry() -> None:
    rows = table(section(README, "Model Variants"))
    assert [row[0] for row in rows] == list(CANARY_MODELS)
    for name, parameters, download, license, transcribes, translates, punctuation in rows:
        model = CANARY_MODELS[name]
        languages = model.languages
        assert parameters == model.parameters
        assert download == f"{model.download_bytes / 1e9:.1f} GB"
        assert license == model.license
        assert transcribes in (", ".join(languages.spoken), f"{len(languages.spoken)} European languages")
        assert languages.translation == "english"
        assert translates == f"between en and {len(languages.translated) - 1} others"
        assert punctuation == ("on or off" if languages.pnc_switch else "always on")


def test_language_support_is_that_of_the_registry() -> None:
    text = section(README, "Language Support")
    four, many, *_ = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    for part, models in ((four, ("canary-180m-flash", "canary-1b-flash", "canary-1b")), (many, ("canary-1b-v2",))):
        named = {code: name for name, code in re.findall(r"(\w+) \((\w\w)\)", part)}
        for model in models:
            spoken = CANARY_MODELS[model].languages.spoken
            assert model in part
            assert named == {code: LANGUAGE_NAMES[code] for code in spoken}


def test_architecture_lists_the_rooms_that_exist() -> None:
    """Every folder and module of the package has its row, and no row is left of one that went."""
    package = ROOT / "src/mlx_canary"
    exist = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    exist |= {f"{path.name}/" for path in package.iterdir() if path.name == "demo"}
    exist |= {path.name for path in package.glob("*.py")}
    described = [row[0].strip("`") for row in table(section(ARCHITECTURE, "Rooms"))]
    assert sorted(described) == sorted(exist)


def test_architecture_shows_the_layers_that_are_checked() -> None:
    (contract,) = PYPROJECT["tool"]["importlinter"]["contracts"]
    (shown,) = [b for b in blocks(ARCHITECTURE) if b.text.splitlines()[0] == contract["layers"][0]]
    assert shown.text.splitlines() == contract["layers"]


def test_cli_document_has_every_command_and_option() -> None:
    """The tables are those that tools/cli_reference.py makes of the commands themselves."""
    import cli_reference

    assert cli_reference.updated(CLI.read_text(encoding="utf-8")) == CLI.read_text(encoding="utf-8"), (
        "docs/cli.md is out of date. Run: python tools/cli_reference.py"
    )
    assert sorted(anchor for anchor in headings(CLI) if anchor in COMMANDS) == sorted(COMMANDS)
    for name in COMMANDS:
        with click.Context(cli, **cli.context_settings) as context:
            parameters = cli.get_command(context, name).params
        flags = [flag for p in parameters for flag in [*p.opts, *p.secondary_opts] if flag.startswith("-")]
        assert not [flag for flag in flags if not re.search(rf"[` ]{flag}\b", section(CLI, name))]


def test_flags_are_those_that_segments_may_have() -> None:
    rows = table(section(JSON, "Flags"))
    assert [row[0].strip("`") for row in rows] == [UNFINISHED, LOOP, TOO_SHORT, TOO_LONG, UNSURE, NO_SPEECH]
    assert [row[1] for row in rows] == [describe(row[0].strip("`")) for row in rows]


def test_python_document_has_every_error_and_option() -> None:
    errors = {row[0].split("`")[1] for row in table(section(PYTHON, "Errors"))} | {"CanaryError"}
    assert errors == {name for name in mlx_canary.__all__ if name.endswith("Error")}
    for options, title in (
        (mlx_canary.TranscriptionOptions, "Transcribe and translate"),
        (mlx_canary.DecodingOptions, "Search, phrases, confidence"),
    ):
        assert {field.name for field in fields(options)} <= set(re.findall(r"`(\w+)`", section(PYTHON, title)))


def test_placeholders_are_those_of_templates() -> None:
    rows = table(re.split(r"^\*\*Names\.\*\*", section(CLI, "transcribe"), flags=re.MULTILINE)[1])
    assert {row[0].strip("`{}"): row[1] for row in rows} == PLACEHOLDERS


def test_hostile_cases_are_those_that_the_tests_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole list, and the sizes of its groups."""
    monkeypatch.syspath_prepend(ROOT / "tests/unit/conversion")
    import hostile

    names = [case.name for case in hostile.CASES]
    assert [row[0] for row in table(HOSTILE.read_text(encoding="utf-8"))] == names
    for groups, number, _ in table(section(CONVERSION, "Safety")):
        of_group = [name for name in names if f"`{name.split(':')[0]}`" in groups]
        assert len(of_group) == int(number), groups
        names = [name for name in names if name not in of_group]
    assert not names


@pytest.mark.parametrize("document", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Files and headings within the repository; nothing is fetched."""
    for link in links(document):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name} links to {link}, which does not exist"
        if anchor:
            assert anchor in headings(target), f"{document.name} links to {link}, which has no such heading"
