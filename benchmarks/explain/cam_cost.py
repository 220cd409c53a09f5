"""What do class activation maps cost, in forward passes, beside captum's and MONAI's? Prints Markdown.

    nice python benchmarks/explain/cam_cost.py [--images 8] [--batch 4] [--repeats 5] [--size 224] [--depth 32]
        [--classes 14] [--score-size 64] [--device cpu|cuda]

Seconds are of this process's CPU on one thread (on a GPU: of the clock, the device synchronised, channels-last and mixed
precision). The contestants take turns within each repeat, so that load on the machine meets all of them; ratios are
medians over repeats of the ratio to the forward pass under inference mode of the same repeat. Arithmetic (FLOPs) and
what autograd keeps for the backward pass, weights left out, are counted exactly.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from contest import as_cohort, densenet, machine, quiet_and_single, ratio, resnet, take_turns
from torch.utils.flop_counter import FlopCounterMode

from workbench.explain.attribute import explain
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from contest import Contest, Seconds

LAYERS = {"DenseNet121": "class_layers.relu", "ResNet18": "layer4", "3-D ResNet18": "layer4"}
WHO = (
    "one class", "every class", "layer named", "one image", "captum, one class", "captum, every class", "MONAI, one class",
)  # fmt: skip
METHODS = ("gradcam++", "hirescam", "layercam", "eigencam")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"images": 8, "batch": 4, "repeats": 5, "size": 224, "depth": 32, "classes": 14, "score-size": 64}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    quiet_and_single()
    own = f" {torch.cuda.get_device_name()}." if options.device == "cuda" else ""
    print(f"{machine()}{own}\n")
    print(
        f"## Grad-CAM, {options.images} images in batches of {options.batch}, {options.classes} classes, in forward passes\n"
    )
    print(f"| network | forward, ms an image | {' | '.join(WHO)} |\n|{'---|' * (len(WHO) + 2)}")
    exact, others = [], []
    for name, network in networks(options).items():
        images = pictures(name, options)
        contestants = contest(name, network, images, options.batch)
        seconds = timed(contestants, options)
        forward = median(seconds["forward"]) / options.images * 1e3
        print(f"| {name} | {forward:.1f} | {' | '.join(f'{forwards(seconds, who):.2f}' for who in WHO)} |", flush=True)
        others.append(f"| {name} | {' | '.join(f'{forwards(seconds, who):.2f}' for who in METHODS)} |")
        bare = flops(contestants["forward"])
        for who in ("forward", *WHO):
            per = bare / options.images if who == "one image" else bare
            if who == "captum, every class":  # one after the other: it keeps what it keeps for one class
                kept = "as for one class"
            else:
                size = 1 if who == "one image" else options.batch
                kept = f"{kept_for_backward(contestants[who], network) / size / 2**20:.2f}"
            exact.append(f"| {name} | {who} | {flops(contestants[who]) / per:.4f} | {kept} |")
    print(
        f"\n## The others, one class, in forward passes\n\n| network | {' | '.join(METHODS)} |\n|{'---|' * (len(METHODS) + 1)}"
    )
    print("\n".join(others))
    print(
        "\n## Counted exactly\n\n| network | | arithmetic, forward passes | kept for backward, MiB an image |\n|---|---|---|---|"
    )
    print("\n".join(exact))
    score_cam(options)


def networks(options: argparse.Namespace) -> dict[str, torch.nn.Module]:
    made = {
        "DenseNet121": densenet(options.classes),
        "ResNet18": resnet(outputs=options.classes),
        "3-D ResNet18": resnet(3, options.classes),
    }
    return {name: ready(network, options.device) for name, network in made.items()}


def ready(network: torch.nn.Module, device: str) -> torch.nn.Module:
    network = network.to(device)
    if device == "cuda":
        flat = not any(isinstance(module, torch.nn.Conv3d) for module in network.modules())
        network = network.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)
    return network


def pictures(name: str, options: argparse.Namespace) -> torch.Tensor:
    deep = (options.depth, 2 * options.depth, 2 * options.depth)
    shape = deep if name.startswith("3-D") else (options.size, options.size)
    return torch.randn(options.images, 1, *shape, generator=torch.Generator().manual_seed(0))


def contest(name: str, network: torch.nn.Module, images: torch.Tensor, batch: int) -> Contest:
    from captum.attr import LayerGradCam
    from monai.visualize import GradCAM

    layer = LAYERS[name]
    device = next(network.parameters()).device
    parts = images.to(device).split(batch)
    captum, monai = LayerGradCam(network, network.get_submodule(layer)), GradCAM(network, layer)
    outputs = network(parts[0][:1]).shape[1]
    model, cohort = Model.wrap(network, classes=tuple(f"c{k}" for k in range(outputs))), as_cohort(images)
    first = cohort.subset(cohort.ids[:1])

    def forward(many: tuple[torch.Tensor, ...] = parts) -> None:
        with torch.inference_mode():
            for part in many:
                network(part)

    def by_captum(classes: range) -> None:
        for part in parts:
            for index in classes:
                captum.attribute(part, index, relu_attributions=True)

    named = {
        who: lambda who=who: explain(model, cohort, who, target="c1", layer=layer, batch_size=batch) for who in METHODS
    }
    return named | {
        "forward": forward,
        "one class": lambda: explain(model, cohort, target="c1", batch_size=batch),
        "every class": lambda: explain(model, cohort, target="each", batch_size=batch),
        "layer named": lambda: explain(model, cohort, target="c1", layer=layer, batch_size=batch),
        "captum, one class": lambda: by_captum(range(1, 2)),
        "captum, every class": lambda: by_captum(range(outputs)),
        # MONAI mixes the images of a batch unless the class is given.
        "MONAI, one class": lambda: [monai(part, class_idx=1) for part in parts],
        "forward of one image": lambda: forward((parts[0][:1],)),
        "one image": lambda: explain(model, first, target="c1"),
    }


def score_cam(options: argparse.Namespace) -> None:
    """Compare Score-CAM with the bare passes it needs, and with fewer of them."""
    network = networks(options)["ResNet18"]
    size = options.score_size
    images = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    model, cohort = Model.wrap(network, classes=tuple(f"c{k}" for k in range(options.classes))), as_cohort(images)
    runs: list[int] = []
    with network.register_forward_hook(lambda _m, given, _o: runs.append(len(given[0]))):
        explain(model, cohort, "scorecam", layer="layer3", target="c1", batch_size=16)
    batches = [images.repeat(count, 1, 1, 1).to(options.device) for count in runs]

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                network(batch)

    maps = {}

    def ours(masks: int | None) -> None:
        found = explain(model, cohort, "scorecam", layer="layer3", target="c1", batch_size=16, masks=masks)
        maps[masks] = found.maps.ravel()

    contestants: Contest = {"forward": bare} | {f"{m}": lambda m=m: ours(m) for m in (None, 64, 16)}
    seconds = timed(contestants, options)
    print(f"\n## Score-CAM, ResNet18 at {size}², {sum(runs) - 1} channels, in the bare passes that all of them need\n")
    print("| masks | bare passes | correlation with one a channel |\n|---|---|---|")
    for masks, name in ((None, "one a channel"), (64, "64"), (16, "16")):
        print(f"| {name} | {ratio(seconds, str(masks)):.2f} | {np.corrcoef(maps[None], maps[masks])[0, 1]:.4f} |")


def timed(contestants: Contest, options: argparse.Namespace) -> Seconds:
    gpu = options.device == "cuda"
    with torch.autocast("cuda") if gpu else nullcontext():
        return take_turns(contestants, options.repeats, clock=partial(clock, gpu))


def forwards(seconds: Seconds, who: str) -> float:
    return ratio(seconds, who, "forward of one image" if who == "one image" else "forward")


def clock(gpu: bool) -> float:
    if not gpu:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def flops(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counted:
        run()
    total: int = counted.get_total_flops()
    return total


def kept_for_backward(run: Callable[[], Any], network: torch.nn.Module) -> int:
    """Count the bytes of the storages that autograd saved and held at once, weights and buffers left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    held: dict[int, int] = {}
    sizes: dict[int, int] = {}
    most = 0

    class Saved:
        def __init__(self, tensor: torch.Tensor) -> None:
            nonlocal most
            self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
            held[self.key] = held.get(self.key, 0) + 1
            sizes[self.key] = 0 if self.key in own else tensor.untyped_storage().nbytes()
            most = max(most, sum(sizes[key] for key in held))

        def __del__(self) -> None:
            held[self.key] -= 1
            if not held[self.key]:
                del held[self.key]

    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        run()
    return most


if __name__ == "__main__":
    main()
