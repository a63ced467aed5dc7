"""Where the values of options come from: command line, environment, project, user, default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from asrkit.cli._command import leaves, options_of
from asrkit.cli.app import app
from asrkit.config import WRITTEN, read_config
from asrkit.options import TranscribeOptions

ROOT = typer.main.get_command(app)
TREE = dict(leaves(ROOT))


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """The current folder, of a project, with a thing to transcribe; and a folder of the user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "user"))
    (tmp_path / "user" / "asrkit").mkdir(parents=True)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "a.wav").write_bytes(b"")
    monkeypatch.setattr("typer.testing._get_command", lambda app: ROOT)  # built once
    return folder


@pytest.fixture
def user(tmp_path) -> Path:
    return tmp_path / "user" / "asrkit" / "config.toml"


def run(*arguments: str):
    return CliRunner().invoke(app, [*arguments])


def plan(*arguments: str) -> str:
    """What a dry run of transcribe says it would do with its options."""
    result = run("transcribe", "a.wav", "--dry-run", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stderr


def error(*arguments: str) -> str:
    result = run("transcribe", "a.wav", "--dry-run", *arguments)
    assert result.exit_code == 2
    return result.stderr


# name of the option, a value of each layer as the layer has it, and how the plan shows them
LAYERS = {
    "batch-size": (["11", "12", "13", "14"], "batch_size={}"),
    "max-pause": (["0.1", "0.2", "0.3", "0.4"], "max_pause={}"),
    "decoder": (['"beam"', '"greedy"', '"auto"', '"beam"'], "decoder='{}'"),
    "revision": (['"r1"', '"r2"', '"r3"', '"r4"'], "revision='{}'"),
    "offline": (["true", "false", "true", "false"], "offline={}"),
    "no-lm": (["false", "true", "false", "true"], "use_lm={}"),
    "hotwords": (['"a"', '"b"', '"c"', '"d"'], "hotwords=('{}',)"),
}


def shown(option: str, value: str, form: str) -> str:
    if value in ("true", "false"):
        return form.format((value == "true") is not (option == "no-lm"))
    return form.format(value.strip('"'))


@pytest.mark.parametrize("option", LAYERS)
def test_flag_goes_before_environment_before_project_before_user(
    option, project, user, monkeypatch
):
    (own, in_project, in_environment, on_line), form = LAYERS[option]

    user.write_text(f"{option} = {own}\n")
    assert shown(option, own, form) in plan()

    (project / "asrkit.toml").write_text(f"{option} = {in_project}\n")
    assert shown(option, in_project, form) in plan()

    variable = "ASRKIT_" + option.upper().replace("-", "_")
    monkeypatch.setenv(variable, in_environment.strip('"'))
    assert shown(option, in_environment, form) in plan()

    flags = {"true": [f"--{option}"], "false": [f"--no-{option}"]}
    if option == "no-lm":
        assert shown(option, "true", form) in plan("--no-lm")
    else:
        line = flags.get(on_line, [f"--{option}", on_line.strip('"')])
        assert shown(option, on_line, form) in plan(*line)


def test_project_goes_before_user_wherever_in_the_file_it_stands(project, user):
    user.write_text("[transcribe]\nbatch-size = 2\n")
    (project / "asrkit.toml").write_text("batch-size = 3\n")

    assert "batch_size=3" in plan()


def test_table_of_a_command_goes_before_the_top(project):
    (project / "asrkit.toml").write_text("batch-size = 3\n[transcribe]\nbatch_size = 4\n")

    assert "batch_size=4" in plan()
    assert "batch_size=3" in run("classify", "a.wav", "--dry-run").stderr


def test_nearest_file_upward_counts_and_asrkit_toml_before_pyproject(project, monkeypatch):
    (project / "asrkit.toml").write_text("batch-size = 2\n")
    (project / "pyproject.toml").write_text("[tool.asrkit]\nbatch-size = 3\nmax-pause = 9\n")
    inner = project / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\nname = 'asrkit-user'\n")
    monkeypatch.chdir(inner)
    Path("a.wav").write_bytes(b"")

    assert "batch_size=2" in plan()
    assert "max_pause=0.5" in plan()

    (inner / "pyproject.toml").write_text("[tool.asrkit.transcribe]\nbatch-size = 4\n")
    assert "batch_size=4" in plan()


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_no_config_reads_no_file_wherever_it_stands(place, project, monkeypatch):
    (project / "asrkit.toml").write_text("batch-size = 2\nnonsense = [\n")
    line = ["transcribe", "a.wav", "--dry-run"]
    if place == "environment":
        monkeypatch.setenv("ASRKIT_NO_CONFIG", "1")

    result = run(
        *["--no-config"] * (place == "before"), *line, *["--no-config"] * (place == "after")
    )

    assert f"batch_size={TranscribeOptions().batch_size}" in result.stderr


def test_help_reads_no_file(project):
    (project / "asrkit.toml").write_text("nonsense = [\n")

    assert run("transcribe", "--help").exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 'x'", "line 1: unknown key 'modle'\nhint: did you mean model?"),
        ("\n[transcribe]\nbeem-width = 3", "line 3: unknown key 'transcribe.beem-width'"),
        ("[transcrib]\nlm = 'x'", "line 2: [transcrib] is the table of no command"),
        ("[models.info]\nx = 1", "line 2: unknown key 'models.info.x'\nhint: asrkit models info"),
        (
            "[embed]\nlm = 'x'",
            "line 2: unknown key 'embed.lm'\nhint: it is an option of [eval-wer]",
        ),
        ("no-config = true", "line 1: unknown key 'no-config'"),
        ("batch-size = '8'", "line 1: batch-size = '8', expected a number"),
        ("batch-size = true", "line 1: batch-size = True, expected a number"),
        ("batch-size = 1.5", "line 1: Invalid value for '--batch-size': '1.5' is not"),
        ("# x\nbatch-size = 0", "line 2: Invalid value for '--batch-size': 0 is not"),
        ("offline = 'yes'", "line 1: offline = 'yes', expected true or false"),
        ("model = true", "line 1: model = True, expected a string"),
        ("model = ['a']", "line 1: model = ['a'], expected a string"),
        ("revision = 1979-05-27", "line 1: revision = datetime.date"),
        ("[[transcribe]]\nlm = 'x'", "unknown key 'transcribe'"),
        ("color = 'red'", "line 1: Invalid value for '--color': 'red' is not one of"),
        ("x =", "not valid TOML"),
        ("x = '\x00'", "not valid TOML"),
        ("x = " + "[" * 5000, "not valid TOML"),
        ("# " + "x" * 1_100_000, "larger than 1000000 bytes"),
    ],
    ids=lambda text: text[:30],
)
def test_mistake_in_a_file_is_an_error_that_names_file_line_and_key(text, message, project):
    path = project / "asrkit.toml"
    path.write_text(text + "\n")

    said = error()

    assert said.startswith(f"error: {path}")
    assert message in said


def test_file_that_is_not_utf8_is_an_error(project):
    (project / "asrkit.toml").write_bytes(b"model = '\xe9'\n")

    assert "not valid TOML" in error()


def test_value_that_is_checked_later_says_where_it_came_from(project, monkeypatch):
    (project / "asrkit.toml").write_text("batch-size = 2\ndecoder = 'greedi'\n")

    said = error().splitlines()

    assert said[:2] == [
        "error: decoder 'greedi' is not one of auto, greedy, beam",
        "hint: did you mean greedy?",
    ]
    assert said[2].endswith(f"decoder = greedi ({project / 'asrkit.toml'}, line 2)")

    monkeypatch.setenv("ASRKIT_BATCH_SIZE", "many")
    assert error().startswith("error: ASRKIT_BATCH_SIZE: Invalid value for '--batch-size'")


def test_lists_are_what_commas_and_repetition_are_on_the_command_line(project):
    (project / "asrkit.toml").write_text(
        "hotwords = ['one', 'two']\n[transcribe]\nformat = ['srt', 'txt']\noutput = 'out/'\n"
        "[eval-wer]\nnormalizer = ['basic']\noutput = ['a.json', 'b.csv']\n"
    )
    for name in ("ref.txt", "hyp.txt"):
        Path(name).write_text("One\n")

    assert "hotwords=('one', 'two')" in plan()
    assert str(project / "out" / "a.srt") in run("transcribe", "a.wav", "--dry-run").stdout
    assert run("eval-wer", "ref.txt", "hyp.txt").exit_code == 0
    assert (project / "a.json").exists()
    assert (project / "b.csv").exists()


def test_paths_are_relative_to_the_file(project, monkeypatch):
    (project / "asrkit.toml").write_text(
        "lm = 'lm.arpa'\nmodel = 'own/model'\nalign-model = 'on/hub'\nhotwords = 'a,b'\n"
    )
    (project / "own" / "model").mkdir(parents=True)
    (project / "inner").mkdir()
    monkeypatch.chdir(project / "inner")
    Path("a.wav").write_bytes(b"")

    said = plan()

    assert f"lm={str(project / 'lm.arpa')!r}" in said
    assert f"model={str(project / 'own/model')!r}" in said
    assert "align_model='on/hub'" in said
    assert "hotwords=('a', 'b')" in said


@pytest.mark.parametrize("path", ["../x", "/etc/x", "~/x", "link/x", "out/../../x"])
@pytest.mark.parametrize("key", ["output", "log-file"])
def test_project_cannot_write_outside_its_folder(key, path, project, user, tmp_path):
    """I17."""
    (project / "link").symlink_to(tmp_path)
    (project / "asrkit.toml").write_text(f"[transcribe]\n{key} = '{path}'\n")

    assert f"{key} = {path!r} is outside" in error()

    (project / "asrkit.toml").unlink()
    user.write_text(f"[transcribe]\ncache-dir = '{path}'\n")
    plan()


def test_what_a_project_writes_is_said(project, monkeypatch):
    (project / "asrkit.toml").write_text("[transcribe]\noutput = 'out/'\n")

    assert f"note: output = {project}{os.sep}out/ (" in plan()
    assert "note: output" not in plan("-o", "-")
    monkeypatch.setenv("ASRKIT_OUTPUT", "-")
    assert "note: output" not in plan()
    monkeypatch.delenv("ASRKIT_OUTPUT")

    (project / "asrkit.toml").write_text("quiet = true\n[transcribe]\noutput = 'out/'\n")
    assert "note: output" in plan()
    assert "note: output" not in plan("-q")


def test_project_cannot_run_code(project, user):
    """I17."""
    for name in ("ref.txt", "hyp.txt"):
        Path(name).write_text("One\n")
    Path("code.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\ndef f(text): return text\n"
    )
    (project / "asrkit.toml").write_text("[eval-wer]\nnormalizer = ['basic', 'code.py:f']\n")

    result = run("eval-wer", "ref.txt", "hyp.txt")

    assert result.exit_code == 2
    assert "runs code" in result.stderr
    assert not Path("ran").exists()

    (project / "asrkit.toml").unlink()
    user.write_text("[eval-wer]\nnormalizer = 'code.py:f'\n")
    assert run("eval-wer", "ref.txt", "hyp.txt").exit_code == 0


@pytest.mark.skipif(os.name == "nt", reason="owners of POSIX")
def test_file_of_somebody_else_is_not_read(project, monkeypatch):
    (project.parent / "asrkit.toml").write_text("batch-size = 2\n")
    owner = os.stat(project).st_uid
    real = Path.stat

    def stat(self, **about):
        found = real(self, **about)
        other = self.name == "asrkit.toml"
        return os.stat_result((*found[:4], owner + 1 if other else found.st_uid, *found[5:]))

    monkeypatch.setattr(Path, "stat", stat)

    said = plan()

    assert "note: " in said
    assert "belongs to somebody else" in said
    assert f"batch_size={TranscribeOptions().batch_size}" in said


def test_folder_that_was_removed_has_no_project(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert run("models", "path", "demo-en").exit_code == 0


def test_verbose_says_which_files_are_read_and_what_they_set(project, user):
    user.write_text("threads = 1\n")
    (project / "asrkit.toml").write_text("device = 'cpu'\n[embed]\ntop = 3\n")

    said = plan("-v")

    assert f"settings from {user}, {project / 'asrkit.toml'}" in said
    assert f"threads = 1 ({user}, line 1)" in said
    assert f"device = cpu ({project / 'asrkit.toml'}, line 1)" in said
    assert "top" not in said


def test_line_of_a_key_is_found_in_its_own_table(project):
    (project / "pyproject.toml").write_text(
        "[tool.other]\ntop = 1\n[tool.asrkit]\n'batch-size' = 2\n[tool.asrkit.embed] # x\n top=3\n"
    )
    (file,) = read_config(project).files

    found = {setting.key: setting.where for setting in file.settings()}

    assert found == {
        "batch-size": f"{project / 'pyproject.toml'}, line 4",
        "top": f"{project / 'pyproject.toml'}, line 6",
    }


# -- the tree ------------------------------------------------------------------------------------


def sample(option) -> tuple[str, object]:
    """A text that the option takes, and the value that it is."""
    if option.is_flag:
        return ("false", False) if option.default else ("true", True)
    if option.type.name.startswith(("int", "float")):
        return "1", 1
    if option.nargs == 2:
        return "a b", ("a", "b")
    text = "5" if option.name in ("scale", "shard_size") else "x"
    value = 5 if text == "5" else text
    return text, (value,) if option.multiple else value


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_every_option_of_a_command_reads_its_variable(words, monkeypatch):
    ctx = typer.Context(TREE[words])

    for option in options_of(TREE[words]).values():
        text, expected = sample(option)
        monkeypatch.setenv(option.envvar, text)

        value, source = option.consume_value(ctx, {})
        typed = option.type_cast_value(ctx, value)

        assert source.name == "ENVIRONMENT"
        assert (str(typed) if isinstance(typed, Path) else typed) == expected


def test_variables_are_named_after_options_but_where_a_name_means_something_else():
    named = {
        (words, name): options_of(command)[name].envvar
        for words, command in TREE.items()
        for name in options_of(command)
    }
    expected = {key: "ASRKIT_" + key[1].upper().replace("-", "_") for key in named}

    assert {key: named[key] for key in named if named[key] != expected[key]} == {
        (("eval-wer",), "model"): "ASRKIT_EVAL_WER_MODEL",
        (("eval-wer",), "resume"): "ASRKIT_EVAL_WER_RESUME",
        (("convert", "checkpoint"), "dtype"): "ASRKIT_CONVERT_DTYPE",
    }


def test_name_is_a_flag_a_number_or_a_text_in_all_commands_alike():
    kinds: dict[str, set[str]] = {}
    for command in TREE.values():
        for name in options_of(command).keys() - command.own:
            option = options_of(command)[name]
            is_number = option.type.name.startswith(("int", "float"))
            kind = "flag" if option.is_flag else "number" if is_number else "text"
            kinds.setdefault(name, set()).add(kind)

    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_name_that_means_something_else_is_not_set_for_all_commands(project):
    for name in ("ref.txt", "hyp.txt"):
        Path(name).write_text("One\n")
    (project / "asrkit.toml").write_text("model = 'demo-en'\n")

    assert run("eval-wer", "ref.txt", "hyp.txt").exit_code == 0


def test_every_option_that_names_a_place_is_known_to_write_or_to_read():
    read = {"align-model", "audio", "base", "baseline", "compare", "config", "dictionary"}
    read |= {"files-from", "hotwords", "lexicon", "lm", "lm-unigrams", "model", "pairs"}
    read |= {"reference", "sentencepiece", "similar", "source-model", "unigrams"}
    places = {
        name
        for command in TREE.values()
        for name, option in options_of(command).items()
        if {"FILE", "DIR", "PATH", "SOURCE", "TRIALS"} & set((option.metavar or "").split("|"))
    }

    assert places - read <= WRITTEN
    assert not read & WRITTEN


def test_flags_have_opposites_that_are_no_options_of_their_own():
    for command in TREE.values():
        options = options_of(command)
        flags = {name for name, option in options.items() if option.is_flag}
        assert not {f"no-{name}" for name in flags} & options.keys()
