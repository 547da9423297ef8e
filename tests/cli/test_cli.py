"""The command line as a person and a program meet it."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from allmlp.cli import COMMANDS, main
from allmlp.run import read_json
from helpers import picture

FAST = ["--train.epochs", "2", "--train.batch", "8", "--data.workers", "0", "--data.img-size", "16", "16"]
SMALL = ["--model", "resmlp_xs", "--hyper.dim", "16", "--hyper.depth", "2"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of colour pictures, and files a stranger's folder has."""
    folder = tmp_path_factory.mktemp("my pictures – été")
    generator = np.random.default_rng(0)
    for name, colour in (("red things", (200, 40, 40)), ("blaues Zeug", (40, 40, 200))):
        (folder / name).mkdir()
        for i in range(12):
            pixels = np.array(colour) + generator.normal(0, 20, (20, 24, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i}.jpg")
    (folder / "red things" / "broken.jpg").write_bytes(b"")
    (folder / "red things" / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    assert main(["train", str(pictures), *SMALL, *FAST, "--out", str(folder), "--seed", "3"]) == 0
    return folder


def test_train_ends_with_a_report_an_evaluation_and_the_next_commands(run: Path) -> None:
    assert read_json(run / "run.json")["state"] == "finished"
    assert read_json(run / "run.json")["seed"] == 3
    assert "<html" in (run / "report.html").read_text(encoding="utf-8")
    assert (run / "evaluation" / "val.json").is_file()
    assert read_json(run / "data.json")["left_out_count"] == 1
    assert read_json(run / "data.json")["ignored_files"] == 1


def test_train_says_what_it_trains_on_before_the_first_epoch(run: Path) -> None:
    log = (run / "log.txt").read_text(encoding="utf-8")
    before = log[: log.index("epoch 1/2")]
    for fact in ("red things", "blaues Zeug", "22 training and 2 validation", "broken.jpg", "the file is empty", str(run)):
        assert fact in before, fact


def test_evaluate_json_is_one_object_for_programs(run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), str(pictures), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 24
    assert result["unreadable"] == 1
    assert {"top1", "top5", "loss", "per_class", "confusion", "calibration_error"} <= result.keys()


def test_evaluate_prints_a_table_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out
    assert "top-1" in out
    assert "red things" in out


def test_predict_table_json_and_csv_agree(run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(pictures / "red things")
    assert main(["predict", str(run), folder, "--json"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert len(rows) == 13
    assert "1 of 13 pictures could not be read" in captured.err
    assert main(["predict", str(run), folder, "--csv", "--top", "1"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in table] == [row["path"] for row in rows]
    for row, other in zip(rows, table, strict=True):
        if "error" in row:
            assert other["error"] == row["error"]
        else:
            assert other["class_1"] == row["classes"][0]
            assert float(other["probability_1"]) == pytest.approx(row["probabilities"][0], abs=1e-6)
    assert main(["predict", str(run), folder]) == 0
    out = capsys.readouterr().out
    assert all(row["path"] in out for row in rows)
    first, *lines = out.splitlines()
    starts = {line.index("unreadable: the file is empty") for line in lines if "unreadable" in line}
    assert starts == {first.index("then")}  # a long reason makes no other column wide


def test_predict_with_nothing_readable_fails(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "x.png"
    broken.write_bytes(b"")
    assert main(["predict", str(run), str(broken)]) == 1
    assert "the file is empty" in capsys.readouterr().out


def test_a_run_goes_to_the_release_and_back_bit_for_bit(run: Path, tmp_path: Path) -> None:
    there, back = str(tmp_path / "there.pth"), tmp_path / "back.safetensors"
    assert main(["convert", str(run), "--to", "official", "--out", there]) == 0
    assert main(["convert", there, "--to", "allmlp", "--out", str(back), "--model", "resmlp_xs"]) == 2  # dim is not its
    assert main(["convert", there, "--to", "allmlp", "--out", str(back), "--classes", str(_names(run, tmp_path))]) == 0
    assert back.read_bytes() == (run / "best.safetensors").read_bytes()
    ours, theirs = read_json(run / "best.json"), read_json(back.with_suffix(".json"))
    assert (theirs["classes"], theirs["family"]) == (ours["classes"], "resmlp")


def _names(run: Path, folder: Path) -> Path:
    path = folder / "names.txt"
    path.write_text("\n".join(read_json(run / "best.json")["classes"]), encoding="utf-8")
    return path


def test_released_checkpoints_are_listed_with_their_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "smlpnet_s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["released"] == ["smlpnet_s.spach_in1k"]
    assert main(["models", "smlpnet_s"]) == 0
    assert " .spach_in1k " in capsys.readouterr().out
    assert main(["models", "--released", "resmlp_s12*", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["resmlp_s12.fb_dino", "resmlp_s12.fb_dist_in1k", "resmlp_s12.fb_in1k"]
    assert rows[1]["published_top1"] == 77.8
    assert main(["models", "--released", "vip_s7"]) == 0
    assert "(by hand)" in capsys.readouterr().out


def test_report_prints_where_it_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")


def test_explain_writes_a_page_and_tells_what_it_could_not_read(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(pictures / "red things")
    words = ["explain", str(run), folder, str(pictures / "red things" / "broken.jpg"), "--most", "13", "--out", str(tmp_path)]
    assert main([*words, "--prune", str(pictures), "--prune-images", "6", "--json"]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert len(record["images"]) == 12
    assert "broken.jpg: the file is empty" in captured.err
    assert [row["images"] for row in record["pruning"]][:2] == [6, 6]
    assert main([*words[:2], folder, "--most", "2", "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "the first 2 of 13 pictures are explained" in captured.err
    assert captured.out.strip().endswith(str(tmp_path / "index.html"))
    assert "blocks.0" in captured.out


def test_models_lists_counted_parameters_and_published_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "resmlp_s12", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["parameters"], row["published_top1"], row["weights_licence"]) == (15_350_872, 76.6, "Apache-2.0")
    assert row["macs"] == pytest.approx(3.01e9, rel=0.01)
    assert main(["models", "smlpnet_*"]) == 0
    out = capsys.readouterr().out
    assert "24,123,584" in out
    assert "83.1 %" in out


def test_recipe_is_printed_and_the_command_line_wins_over_it(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes"]) == 0
    assert "demo" in capsys.readouterr().out
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'model = "resmlp_xs"\nseed = 5\n[hyper]\ndim = 16\ndepth = 1\n[train]\nepochs = 1\nbatch = 4\n[data]\nworkers = 0\n'
    )
    out = tmp_path / "run"
    words = [
        "train",
        str(pictures),
        "--recipe",
        str(mine),
        "--out",
        str(out),
        "--train.batch",
        "8",
        "--train.limit",
        "10",
        "--json",
    ]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(out)
    used = (out / "recipe.toml").read_text()
    assert "batch = 8" in used
    assert "seed = 5" in used
    assert "depth = 1" in used
    assert read_json(out / "data.json")["train"]["images"] == 10
    assert main(["train", str(pictures), "--recipe", str(out / "recipe.toml"), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "last.safetensors").read_bytes() == (out / "last.safetensors").read_bytes()


MISTAKES = [
    (["trian"], "did you mean train?"),
    (["train", "/no/such/folder"], "neither a folder nor a data set"),
    (["train", "--model", "resmlp_s13"], "did you mean resmlp_s"),
    (["train", "--recipe", "dmeo"], "did you mean demo?"),
    (["train", "--hyper.wings", "2"], "no hyper-parameter 'wings'"),
    (["train", "--hyper.dim"], "has no value"),
    (["train", "--resume", "/no/run", "--seed", "4"], "--seed would change it"),
    (["train", "--resume", "/no/run"], "is not a run folder"),
    (["evaluate", "/no/run"], "neither a run folder nor"),
    (["evaluate", "EMPTY"], "is not a run folder"),
    (["convert", "/no/run", "--to", "timm", "--out", "x.pth"], "neither a run folder nor"),
    (["convert", "RUN", "--to", "timm", "--out", "x.pth", "--model", "mixer"], "says itself what model it is"),
    (["convert", "RUN", "--to", "official", "--out", "x.npz"], "deit is not written as x.npz"),
    (["convert", "RUN", "--to", "allmlp", "--out", "x.safetensors", "--classes", "/no/file"], "cannot be read"),
    (["predict", "resmlp_s12.fb_in2k", "x.png"], "did you mean resmlp_s12.fb_in1k"),
    (["models", "--released", "zzz"], "no released checkpoint matches"),
    (["predict", "/no/run", "x.png"], "neither a run folder nor"),
    (["predict", "RUN", "/no/picture.png"], "does not exist"),
    (["predict", "RUN", "."], "there is no picture"),
    (["predict", "RUN", "x", "--json", "--csv"], "choose one"),
    (["predict", "RUN", "x", "--weights", "worst"], "best"),
    (["evaluate", "RUN", "EMPTY"], "no class folders"),
    (["evaluate", "RUN", "fashion-mnist-2"], "is neither a folder"),
    (["evaluate", "RUN", "--batch", "0"], "batches of 0 images"),
    (["predict", "RUN", "PICTURES", "--batch", "0"], "--top and --batch start at 1"),
    (["predict", "RUN", "/no/picture.png", "--csv"], "does not exist"),
    (["report", "EMPTY"], "is not a run folder"),
    (["explain", "/no/run", "--out", "why"], "neither a run folder nor"),
    (["explain", "RUN", "/no/picture.png", "--out", "why"], "does not exist"),
    (["explain", "RUN", "EMPTY", "--out", "why"], "there is no picture"),
    (["explain", "RUN", "--out", "RUN/run.json"], "cannot be written"),
    (["explain", "RUN", "--out", "why", "--prune", "/no/data"], "is neither a folder nor a data set"),
    (["explain", "RUN", "--out", "why", "--most", "0"], "--most and --prune-images start at 1"),
    (["models", "zzz"], "no model matches"),
    (["train", 300 * "x"], "File name too long"),
    (["recipes", "zzz"], "no recipe is named"),
    (["train", "EMPTY"], "no class folders"),
    (["train", "PICTURES/red things"], "no class folders"),
    (["train", "PICTURES", "--out", "RUN"], "is not empty"),
    (["train", "PICTURES", "--train.limit", "1"], "cannot cover 2 classes"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_mistake_is_one_clear_line_with_a_way_out_and_no_traceback(
    words: list[str],
    said: str,
    run: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    filled = [
        w.replace("RUN", str(run)).replace("EMPTY", str(tmp_path / "empty")).replace("PICTURES", str(pictures)) for w in words
    ]
    assert main(filled) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "hint:" in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "words", [["train", "--optim.lrr", "3"], ["train", "--train.epochs", "many"], ["train", "--optim.lr", "-1"], ["predict"]]
)
def test_ill_formed_words_are_explained_with_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is always full")
def test_output_to_a_full_disk_is_one_clear_line() -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "allmlp", "recipes"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: [Errno 28] No space left on device\nhint:  ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [(1,), (2,)])
def test_streams_that_were_closed_before_are_no_error(closed: tuple[int, ...]) -> None:
    command = [sys.executable, "-m", "allmlp", "--help"]
    done = subprocess.run(command, preexec_fn=lambda: [os.close(one) for one in closed], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m allmlp recipes | true", shell=True, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"usage: allmlp {command}" in capsys.readouterr().out


def test_overview_lists_every_command_without_loading_torch() -> None:
    code = (
        "import sys; from allmlp.cli import main; main(['--help']); sys.exit('torch' in sys.modules or 'tyro' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("model", ["smlpnet_xs.cifar10", "resmlp_xs.cifar10"])
def test_a_picture_is_classified_without_loading_timm_or_torchvision_or_torchs_compiler(model: str, tmp_path: Path) -> None:
    picture(0, (40, 30)).save(tmp_path / "a.png")
    code = (
        "import sys; from allmlp.cli import main\n"
        "assert main(['predict', *sys.argv[1:]]) == 0\n"
        "sys.exit(' '.join({'timm', 'torchvision', 'matplotlib', 'torch._dynamo', 'sympy'} & set(sys.modules)) or 0)"
    )
    words = [sys.executable, "-c", code, model, str(tmp_path / "a.png")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a.png" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signal_saves_and_says_how_to_go_on(number: int, status: int, pictures: Path, tmp_path: Path) -> None:
    """In a process of its own with worker processes, as from a terminal: the whole group gets the signal."""
    out = tmp_path / "run"
    words = [sys.executable, "-m", "allmlp", "train", str(pictures), *SMALL, "--out", str(out), "--train.epochs", "500"]
    process = subprocess.Popen(
        [*words, "--train.batch", "8", "--data.img-size", "16", "16", "--data.workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 600
    while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == status, said
    assert f"allmlp train --resume {out}" in said
    assert "Traceback" not in said
    state = read_json(out / "run.json")
    assert state["state"] == "stopped"
    assert any((out / "checkpoints").iterdir())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_too_little_memory_is_said_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greedy(_: list[str]) -> int:
        raise error

    monkeypatch.setattr("allmlp.commands.models.main", greedy)
    assert main(["models"]) == 2
    assert capsys.readouterr().err.startswith("error: memory is not enough for this\nhint:  ")


def test_an_error_commands_no_terminal_and_fills_no_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models\x1b[2J" + "s" * 100_000]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert len(said) < 4000


def test_a_table_for_a_reader_who_has_had_enough_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "allmlp", "recipes"], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
