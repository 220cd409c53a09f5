"""What do SHAP values of pixels cost at an equal standard error, and partition SHAP beside its forwards? Prints Markdown.

    nice python benchmarks/explain/shap_cost.py [--size 64] [--batch 16] [--seeds 3] [--network resnet18|densenet121]

CPU seconds of this process on one thread. Expected gradients: one image, 20 references, the same ones for both; the
contestants take turns, seed by seed. A contestant's variance is that of its map over seeds, summed over pixels and
outputs. Independent draws need as many times the samples as their variance is larger, so "at equal error" is shap's
seconds times the ratio of the variances. The stop at an error: what a run costs that stops by itself, and what shap
needs for the error that was really reached (against the mean of all maps of ours with many samples).

Partition SHAP: the same number of evaluations for all, on the same images with the same fill; shap's own masker has the
image's pixels as players, ours 64 boxes. What the first call costs more (imports, numba) is told apart.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from contest import as_cohort, densenet, machine, quiet_and_single, resnet

import workbench as wb
from workbench.explain.fill import fill_images
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.cohorts.cohort import Cohort

CLASSES = ("class 0", "class 1")
REFERENCES, SAMPLES, EVALUATIONS = 20, (50, 160), 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 64), ("batch", 16), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--network", choices=("resnet18", "densenet121"), default="resnet18")
    options = parser.parse_args()
    quiet_and_single()
    print(f"{machine()}\n")
    trained = phantom_model()
    expected_gradients(options, trained)
    partition(options, *trained)


def expected_gradients(options: argparse.Namespace, trained: tuple[Model, Cohort]) -> None:
    import shap

    print(f"## Expected gradients, one image of {options.size}², {REFERENCES} references\n")
    print(
        "| network | outputs | samples | ours, CPU s | shap, CPU s | raw | variance, shap / ours | **at equal error** | two seeds, ours | shap |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    stops = []
    for name, model, cohort, outputs in questions(options, *trained):
        one, rest = cohort.subset(cohort.ids[:1]), cohort.subset(cohort.ids[1:])
        network, target = model.network, "each" if outputs > 1 else model.classes[1]
        image, references = model.inputs(one), model.inputs(rest)

        def ours(_target: Any = target, _model: Model = model, _one: Cohort = one, **settings: Any) -> np.ndarray:
            found = wb.explain(_model, _one, "shap", target=_target, batch_size=options.batch, **settings)
            maps = list(found.values()) if isinstance(found, dict) else [found]
            return np.stack([one.maps[0] for one in maps])

        # With one output asked for, shap gets a network of one output: it has no other way to be asked for a class.
        asked = network if outputs > 1 else Column(network, 1)
        peer = shap.GradientExplainer(asked, references, batch_size=options.batch)

        def theirs(seed: int, samples: int, _peer: Any = peer, _image: torch.Tensor = image) -> np.ndarray:
            values = _peer.shap_values(_image, nsamples=samples, rseed=seed)
            return np.moveaxis(np.asarray(values)[0].sum(0), -1, 0)

        for samples in SAMPLES if outputs == 2 else SAMPLES[:1]:
            many = options.seeds if outputs <= 2 else 2
            settings = {"background": rest, "background_size": REFERENCES, "samples": samples}
            own, other = turns(
                [lambda seed, s=settings: ours(seed=seed, **s), lambda seed, n=samples: theirs(seed, n)], many
            )
            seconds = median(own.seconds), median(other.seconds)
            variances = other.variance / own.variance
            print(
                f"| {name} | {outputs} | {samples} | {seconds[0]:.2f} | {seconds[1]:.2f} | {seconds[1] / seconds[0]:.1f} × | {variances:.1f} | "
                f"**{seconds[1] / seconds[0] * variances:.1f} ×** | {own.agreement:.2f} | {other.agreement:.2f} |", flush=True
            )  # fmt: skip
        if outputs == 2:
            stops.append((name, ours, rest, mean(other.seconds) / SAMPLES[-1], other.variance * SAMPLES[-1]))
    print("\n## Expected gradients until an error is reached, 2 outputs\n")
    print("| network | error asked | said | seen | samples | ours, CPU s | shap for the error seen, samples | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, ours, rest, seconds, variance in stops:
        settings = {"background": rest, "background_size": REFERENCES}
        truth = np.mean([ours(seed=100 + seed, samples=480, **settings) for seed in range(2)], axis=0)
        for error in (0.3, 0.1):
            (run,) = turns([lambda seed, s=settings, f=ours, e=error: f(seed=seed, error=e, **s)], 3)
            said, drawn = told(ours, error, settings)
            off = mean(float(((maps - truth) ** 2).sum()) for maps in run.maps)
            needed = variance / off
            print(
                f"| {name} | {error} | {said:.2f} | {np.sqrt(off / (truth**2).sum()):.2f} | {drawn:.0f} | {median(run.seconds):.2f} | "
                f"{needed:.0f} | {needed * seconds:.1f} |", flush=True
            )  # fmt: skip


class Column(torch.nn.Module):
    """One output of a network."""

    def __init__(self, network: torch.nn.Module, index: int) -> None:
        super().__init__()
        self.network, self.index = network, index

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs)[:, self.index : self.index + 1]


class Runs:
    """Maps of several seeds and what each cost."""

    def __init__(self) -> None:
        self.maps: list[np.ndarray] = []
        self.seconds: list[float] = []

    @property
    def variance(self) -> float:
        return float(np.var(self.maps, axis=0, ddof=1).sum())

    @property
    def agreement(self) -> float:
        """Correlation over pixels between two seeds, averaged over pairs of seeds and outputs."""
        pairs = combinations(self.maps, 2)
        return mean(
            float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
            for one, other in pairs
            for a, b in zip(one, other, strict=True)
        )


def turns(contestants: list[Callable[[int], np.ndarray]], seeds: int) -> list[Runs]:
    """Let everybody run once for each seed; the first round warms up and is not timed."""
    found = [Runs() for _ in contestants]
    for seed in range(seeds + 1):
        for runs, run in zip(found, contestants, strict=True):
            start = time.process_time()
            maps = run(seed)
            if seed:
                runs.seconds.append(time.process_time() - start)
                runs.maps.append(maps)
    return found


def told(ours: Callable[..., np.ndarray], error: float, settings: dict[str, Any]) -> tuple[float, float]:
    """Return the relative error said and the samples drawn, averaged over both outputs."""
    target, model, one = ours.__defaults__
    found = wb.explain(model, one, "shap", target=target, error=error, **settings)
    frame = pd.concat([value.to_frame() for value in found.values()])
    return float(frame["relative_error"].mean()), float(frame["samples"].max())


def questions(options: argparse.Namespace, model: Model, phantom: Cohort) -> list[tuple[str, Model, Cohort, int]]:
    images = torch.randn(1 + REFERENCES, 1, options.size, options.size, generator=torch.Generator().manual_seed(0))
    untrained = f"{options.network}, untrained"
    found = [
        (untrained, wrapped(options.network, max(outputs, 2)), as_cohort(images, CLASSES), outputs)
        for outputs in (1, 2, 14)
    ]
    return [*found, ("compact, trained on the phantom, 64²", model, phantom, 2)]


def phantom_model() -> tuple[Model, Cohort]:
    """Train for a few epochs; return the model and some images as it sees them."""
    from workbench.phantoms.mammography import phantom_mammography

    train, tune, test = phantom_mammography(300, shape=(64, 48), seed=3).split(by="patient", seed=7)
    model = wb.train(train, tune, epochs=8, seed=0)
    inputs = torch.cat([model.inputs(test, test.ids[:1]), model.inputs(train, train.ids[:REFERENCES])])
    return Model.wrap(model.network.eval(), classes=model.classes), as_cohort(inputs, CLASSES)


def wrapped(name: str, outputs: int) -> Model:
    network = densenet(outputs) if name == "densenet121" else resnet(outputs=outputs)
    return Model.wrap(network, classes=[f"class {place}" for place in range(outputs)])


def partition(options: argparse.Namespace, trained: Model, phantom: Cohort) -> None:
    model = wrapped(options.network, 2)
    images = torch.randn(2, 1, options.size, options.size, generator=torch.Generator().manual_seed(1))
    cohort, network = as_cohort(images, CLASSES), model.network
    settings: dict[str, Any] = {"target": "class 1", "batch_size": options.batch, "evaluations": EVALUATIONS}

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(0, EVALUATIONS * len(images), options.batch):
                network(images[:1].expand(options.batch, -1, -1, -1).contiguous())

    def ours() -> None:
        wb.explain(model, cohort, "partition-shap", tolerance=1e-9, **settings)

    def theirs() -> None:
        for image, blurred in zip(images, fill_images(images, "blur"), strict=True):
            shap_image(network, image, blurred, options.batch)

    print(
        f"\n## Partition SHAP, {EVALUATIONS} evaluations an image of {options.size}², one output, {len(images)} images\n"
    )
    print("| | CPU s an image | × bare forwards | more at the first call, s |\n|---|---|---|---|")
    firsts, seconds = {}, {"bare forwards": [], "ours": [], "shap, its Image masker": []}
    for turn in range(3):
        for name, run in zip(seconds, (forward, ours, theirs), strict=True):
            start = time.process_time()
            run()
            spent = time.process_time() - start
            if turn:
                seconds[name].append(spent)
            else:
                firsts[name] = spent
    for name, spent in seconds.items():
        ratio = median(a / b for a, b in zip(spent, seconds["bare forwards"], strict=True))
        print(
            f"| {name} | {median(spent) / len(images):.2f} | {ratio:.2f} | {max(firsts[name] - median(spent), 0):.1f} |"
        )
    some = phantom.subset(phantom.ids[:6])
    settings = {"target": trained.classes[1], "batch_size": options.batch, "evaluations": 4096}
    whole = wb.explain(trained, some, "partition-shap", tolerance=1e-9, **settings).maps
    print(
        "\n| trained on the phantom, tolerance | evaluations an image (whole tree: 2,732) | difference to the whole tree |\n|---|---|---|"
    )
    for tolerance in (0.5, 0.2, 0.1):
        found = wb.explain(trained, some, "partition-shap", tolerance=tolerance, **settings)
        off = np.sqrt(((found.maps - whole) ** 2).sum((1, 2)) / (whole**2).sum((1, 2)))
        print(
            f"| {tolerance} | {found.to_frame()['evaluations'].mean():.0f} | {off.mean():.2f}, at most {off.max():.2f} |",
            flush=True,
        )


def shap_image(network: torch.nn.Module, image: torch.Tensor, blurred: torch.Tensor, batch: int) -> np.ndarray:
    """Explain one image as shap's documentation does; its masker and its tree are made for each image."""
    import shap

    last = np.moveaxis(image.numpy(), 0, -1)
    masker = shap.maskers.Image(np.moveaxis(blurred.numpy(), 0, -1), last.shape)

    def score(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(np.moveaxis(inputs, -1, 1)).contiguous())[:, 1].numpy()

    explainer = shap.explainers.PartitionExplainer(score, masker)
    return explainer(last[None], max_evals=EVALUATIONS, batch_size=batch, silent=True).values[0]


if __name__ == "__main__":
    main()
