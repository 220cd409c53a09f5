"""Maps written to a folder as they are made: the same as in memory, resumed where they stopped, safe on a full disk."""

from __future__ import annotations

import errno
import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import FileError
from workbench.explain import gather, methods
from workbench.explain.attribute import explain
from workbench.explain.attributions import Attributions
from workbench.imaging.preprocess import Preprocessing


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


class Stopping(nn.Module):
    """Fails at the n-th call, as a machine may."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.inner, self.left = network(), after

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.inner(inputs)


def mapped(array: object) -> bool:
    while not isinstance(array, mmap.mmap) and array is not None:
        array = getattr(array, "base", None)
    return array is not None


SHAP = {"method": "shap", "samples": 4, "batch_size": 2}


def test_a_folder_holds_what_memory_would(tmp_path, make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(7)
    kept, streamed = explain(model, cohort, **SHAP), explain(model, cohort, out=tmp_path / "maps", **SHAP)
    loaded = Attributions.load(tmp_path / "maps")
    for value in (streamed, loaded):
        assert np.array_equal(value.maps, kept.maps)
        assert np.array_equal(value.errors, kept.errors)
        assert value.to_frame().equals(kept.to_frame())
        assert value.provenance.to_json() == kept.provenance.to_json()
    assert mapped(streamed.maps)
    assert mapped(loaded.maps)
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def test_several_targets_get_a_folder_each(tmp_path, make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(4)
    both = explain(model, cohort, target="each", out=tmp_path / "maps", **SHAP)
    assert list(both) == ["no", "yes"]
    for name, value in both.items():
        assert np.array_equal(Attributions.load(tmp_path / "maps" / name).maps, value.maps)
        assert np.allclose(value.maps, explain(model, cohort, target=name, **SHAP).maps, atol=1e-7)


@pytest.mark.parametrize("after", [2, 16, 22])
def test_a_stopped_call_goes_on_from_the_next_image(after: int, tmp_path, make_model, make_cohort) -> None:
    cohort, whole = make_cohort(9), Stopping(10**6)
    expected = explain(make_model(whole), cohort, out=tmp_path / "whole", **SHAP)
    used = 10**6 - whole.left
    net = Stopping(after)
    with pytest.raises(KeyboardInterrupt):
        explain(make_model(net), cohort, out=tmp_path / "maps", **SHAP)
    net.left = 10**6
    resumed = explain(make_model(net), cohort, out=tmp_path / "maps", **SHAP)
    assert np.array_equal(resumed.maps, expected.maps)
    assert resumed.to_frame().equals(expected.to_frame())
    if after > 10:
        assert 10**6 - net.left < used


def test_what_was_asked_otherwise_is_not_gone_on_with(tmp_path, make_model, make_cohort) -> None:
    cohort, net = make_cohort(6), Stopping(8)
    with pytest.raises(KeyboardInterrupt):
        explain(make_model(net), cohort, out=tmp_path / "maps", **SHAP)
    net.left = 10**6
    other = {**SHAP, "seed": 9}
    assert np.array_equal(
        explain(make_model(net), cohort, out=tmp_path / "maps", **other).maps,
        explain(make_model(net), cohort, **other).maps,
    )


def test_a_finished_call_is_replaced_by_the_next_and_strangers_files_are_not(tmp_path, make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(4)
    for seed in (1, 2):
        explain(model, cohort, out=tmp_path / "maps", seed=seed, **SHAP)
    assert Attributions.load(tmp_path / "maps").provenance.seed == 2
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(FileError, match="did not save"):
        explain(model, cohort, out=tmp_path / "notes", **SHAP)


def test_a_full_disk_is_told_and_what_is_finished_is_gone_on_from(
    tmp_path, monkeypatch, make_model, make_cohort
) -> None:
    model, cohort, room = make_model(network()), make_cohort(8), [3]
    append = gather._Appended.append

    def full(file: gather._Appended, values: np.ndarray) -> None:
        if file.path.name == "maps.npy":
            room[0] -= 1
            if room[0] < 0:
                # Half of the batch reaches the disk, as it does when it fills up.
                os.write(file._stream.fileno(), values.tobytes()[: values.nbytes // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(file, values)

    monkeypatch.setattr(gather._Appended, "append", full)
    with pytest.raises(FileError, match=r"No space left on device\); 6 of 8 images are safe"):
        explain(model, cohort, out=tmp_path / "maps", **SHAP)
    assert not (tmp_path / "maps").exists()
    room[0] = 10**6
    assert np.array_equal(
        explain(model, cohort, out=tmp_path / "maps", **SHAP).maps, explain(model, cohort, **SHAP).maps
    )


def test_a_disk_that_fails_at_the_very_end_is_told_and_gone_on_from(
    tmp_path, monkeypatch, make_model, make_cohort
) -> None:
    model, cohort = make_model(network()), make_cohort(8)

    def full(file: gather._Appended, rows: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(gather._Appended, "keep", full)
        with pytest.raises(FileError, match=r"No space left on device\); 0 of 8 images are safe"):
            explain(model, cohort, out=tmp_path / "maps", **SHAP)
    assert np.array_equal(
        explain(model, cohort, out=tmp_path / "maps", **SHAP).maps, explain(model, cohort, **SHAP).maps
    )


@pytest.mark.slow
def test_a_file_size_limit_of_the_system_itself_is_told(tmp_path) -> None:
    code = f"""
import resource, signal, sys
import numpy as np
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import workbench as wb
from torch import nn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cohort = wb.Cohort.from_arrays(np.random.default_rng(0).normal(size=(40, 1, 64, 64)).astype("float32"), [0, 1] * 20)
net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
model = wb.Model.wrap(net, classes=["0", "1"])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20 * 64 * 64 * 4, hard))
try:
    wb.explain(model, cohort, "shap", samples=2, batch_size=8, out={str(tmp_path / "maps")!r})
except wb.FileError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(len(wb.explain(model, cohort, "shap", samples=2, batch_size=8, out={str(tmp_path / "maps")!r})))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    told, count = done.stdout.strip().splitlines()
    assert "16 of 40 images are safe" in told
    assert count == "40"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_cohort(tmp_path) -> None:
    def peak(images: int) -> float:
        code = f"""
import resource, sys
import numpy as np, pandas as pd, torch
from torch import nn
import workbench as wb
from workbench.cohorts.pixels import ArrayPixels
torch.set_num_threads(1)
ids = [f"i{{k}}" for k in range({images})]
table = pd.DataFrame({{"patient": ids, "label": "no"}}, index=pd.Index(ids, name="id"))
values = np.lib.stride_tricks.as_strided(np.ones((1, 1, 128, 128), "float32"), (len(ids), 1, 128, 128), (0, 0, 512, 4))
class Pixels(ArrayPixels):
    def digest(self): return "00"
cohort = wb.Cohort(table, ("no", "yes"), (), Pixels.of(values, ids))
net = nn.Sequential(nn.Conv2d(1, 2, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
maps = wb.explain(wb.Model.wrap(net, classes=["no", "yes"]), cohort, "shap", samples=2, out={str(tmp_path / f"maps-{images}")!r})
import psutil
print(psutil.Process().memory_info().rss - psutil.Process().memory_info().shared)
"""
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1]) / 2**20

    small, large = peak(100), peak(3000)  # 6 and 188 MiB of maps
    assert large - small < 30


class Activated(Stopping):
    """What changes in it has no weights."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(self.before(inputs))

    def before(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


CHANGES = {
    "weights": lambda model: model.network.inner[0].weight.data.mul_(2),
    "layer": lambda model: model.network.inner.__setitem__(1, nn.Tanh()),
    "forward": lambda model: setattr(model.network, "before", torch.tanh),
    "preprocessing": lambda model: object.__setattr__(model, "preprocessing", Preprocessing((32, 32), low=10)),
    "function": lambda model: object.__setattr__(model, "preprocessing", lambda image: image * 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_maps_of_a_model_that_changed_meanwhile_are_not_mixed_in(change, tmp_path, make_model, make_cohort) -> None:
    cohort, model = make_cohort(6), make_model(Activated(8))
    with pytest.raises(KeyboardInterrupt):
        explain(model, cohort, out=tmp_path / "maps", **SHAP)
    assert json.loads((tmp_path / ".maps-unfinished" / "journal.json").read_text())["done"] > 0
    model.network.left = 10**6
    change(model)
    assert np.array_equal(
        explain(model, cohort, out=tmp_path / "maps", **SHAP).maps, explain(model, cohort, **SHAP).maps
    )


@pytest.mark.parametrize("changed", ["code", "closure", "default"])
def test_maps_of_a_function_that_changed_meanwhile_are_not_mixed_in(
    changed: str, tmp_path, monkeypatch, make_model, make_cohort
) -> None:
    monkeypatch.setattr(methods, "_registered", {})
    factor = 1.0

    def first(network, images, target, offset=0.0):
        network(images)
        return images * factor + offset

    def second(network, images, target, offset=2.0 if changed == "default" else 0.0):
        network(images)
        return images * factor + offset if changed != "code" else images - factor

    model, cohort = make_model(Stopping(3)), make_cohort(6)
    methods.register("mine")(first)
    with pytest.raises(KeyboardInterrupt):
        explain(model, cohort, "mine", batch_size=2, out=tmp_path / "maps")
    model.network.left = 10**6
    factor = 3.0 if changed == "closure" else 1.0
    methods.register("mine")(second)
    maps = explain(model, cohort, "mine", batch_size=2, out=tmp_path / "maps")
    assert np.array_equal(maps.maps, explain(model, cohort, "mine").maps)


def test_classes_that_folders_cannot_be_called_by_stay_apart(tmp_path, make_model, make_cohort) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    every = explain(
        make_model(net, ("a/b", "a:b", "A:B", "..")), make_cohort(4), "saliency", target="each", out=tmp_path / "maps"
    )
    folders = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert folders == ["-", "A-B (3)", "a-b", "a-b (2)"]
    assert np.array_equal(Attributions.load(tmp_path / "maps" / "a-b (2)").maps, every["a:b"].maps)


def test_a_folder_of_one_value_and_of_several_are_not_mixed(tmp_path, make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(4)
    explain(model, cohort, out=tmp_path / "one")
    with pytest.raises(FileError, match="holds one saved value, and several targets need a folder each"):
        explain(model, cohort, target="each", out=tmp_path / "one")
    explain(model, cohort, target="each", out=tmp_path / "several")
    with pytest.raises(FileError, match="for each of several targets, and here one is asked for"):
        explain(model, cohort, out=tmp_path / "several")


def test_a_folder_that_cannot_be_made_is_told_before_any_work(tmp_path, make_model, make_cohort) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(FileError, match=r"notes/.maps-unfinished cannot be made \(Not a directory\)"):
        explain(make_model(network()), make_cohort(4), out=tmp_path / "notes" / "maps")


@pytest.mark.slow
def test_a_killed_process_costs_a_second_of_work_at_most(tmp_path) -> None:
    code = f"""
import sys, time
import numpy as np
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import torch
import workbench as wb
from torch import nn
class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    def forward(self, images):
        time.sleep(0.1 * (sys.argv[1] == "slow"))
        return self.layers(images)
cohort = wb.Cohort.from_arrays(np.random.default_rng(0).normal(size=(400, 1, 16, 16)).astype("float32"), [0, 1] * 200)
model = wb.Model.wrap(Slow(), classes=["0", "1"])
out = {str(tmp_path / "maps")!r}
print("begun", flush=True)
maps = wb.explain(model, cohort, target="1", batch_size=2, out=out)
print(np.array_equal(maps.maps, wb.explain(model, cohort, target="1", batch_size=2).maps))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    with subprocess.Popen([*command, "slow"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "begun\n"
        time.sleep(4)
        running.kill()
    journal = json.loads((tmp_path / ".maps-unfinished" / "journal.json").read_text())
    assert 20 <= journal["done"] < 400  # at 20 images a second, of which the last two seconds may be lost
    done = subprocess.run([*command, "quick"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["begun", "True"]
