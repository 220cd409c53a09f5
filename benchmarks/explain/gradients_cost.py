"""What do gradient maps cost, in forward passes, beside captum's and MONAI's? Prints two Markdown tables.

    nice python benchmarks/explain/gradients_cost.py [--images 2] [--repeats 3] [--samples 8] [--size 224] [--depth 32]

CPU seconds of this process on one thread; the contestants take turns within each repeat, so that load on the machine
meets all of them; ratios are medians over repeats of the ratio to the forward pass of the same repeat. All methods get
the images as one batch; SmoothGrad and integrated gradients explain one image with `samples` gradients.

The second table counts exactly what autograd keeps for the backward pass, in MiB an image, without the weights.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from contest import as_cohort, machine, quiet_and_single, resnet, take_turns

from workbench.explain.attribute import explain
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = {
    "saliency": ("saliency", "saliency, both classes", "captum Saliency", "MONAI VanillaGrad"),
    "input × gradient": ("input-x-gradient", "input-x-gradient, both classes", "captum InputXGradient", None),
    "guided backprop": ("guided-backprop", "guided-backprop, both classes", "captum GuidedBackprop", "MONAI GuidedBackpropGrad"),
    "SmoothGrad": ("smoothgrad", "smoothgrad, both classes", "captum NoiseTunnel", "MONAI SmoothGrad"),
    "integrated gradients": ("integrated-gradients", "integrated-gradients, both classes", "captum IntegratedGradients", None),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 2), ("repeats", 3), ("samples", 8), ("size", 224), ("depth", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    quiet_and_single()
    print(machine())
    shapes = {2: (1, options.size, options.size), 3: (1, options.depth, 2 * options.depth, 2 * options.depth)}
    kept: list[str] = []
    for axes, shape in shapes.items():
        network = resnet(axes)
        images = torch.randn(options.images, *shape, generator=torch.Generator().manual_seed(0))
        contestants = contest(network, images, options.samples)
        seconds = take_turns(contestants, options.repeats)
        forward = median(seconds["forward"]) / options.images
        print(
            f"\n## ResNet18, {options.images} images of {' × '.join(map(str, shape[1:]))}; a forward pass takes {forward:.3f} CPU s\n"
        )
        print(
            "| in forward passes an image | one class | both classes | captum, one class | MONAI, one class |\n|---|---|---|---|---|"
        )
        for method, who in ROWS.items():
            sampled = method in {"SmoothGrad", "integrated gradients"}
            number = f", {options.samples} gradients" if sampled else ""
            cells = [
                "–" if one is None else f"{per_image(seconds, one, options.images, sampled=sampled):.1f}" for one in who
            ]
            print(f"| {method}{number} | {' | '.join(cells)} |", flush=True)
        for who in ("saliency", "captum Saliency", "MONAI VanillaGrad"):
            kept.append(
                f"| {axes}-D, {who} | {kept_for_backward(contestants[who], network) / options.images / 2**20:.1f} |"
            )
    print("\n## Kept for the backward pass\n\n| | MiB an image |\n|---|---|")
    print("\n".join(kept))


def contest(network: torch.nn.Module, images: torch.Tensor, samples: int) -> dict[str, Callable[[], Any]]:
    from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
    from monai.visualize import GuidedBackpropGrad, SmoothGrad, VanillaGrad

    model, cohort = Model.wrap(network, classes=("no", "yes")), as_cohort(images)
    first, one = cohort.subset(cohort.ids[:1]), images[:1]
    black = torch.full_like(one, float(one.min()))
    spread = 0.15 * float(one.max() - one.min())

    def forward() -> None:
        with torch.inference_mode():
            network(images)

    contestants: dict[str, Callable[[], Any]] = {"forward": forward}
    for method in ("saliency", "input-x-gradient", "guided-backprop"):
        contestants[method] = lambda method=method: explain(model, cohort, method, target="yes")
        contestants[f"{method}, both classes"] = lambda method=method: explain(model, cohort, method, target="each")
    fixed = {
        "smoothgrad": {"samples": samples},
        "integrated-gradients": {"steps": samples, "max_steps": samples, "tolerance": 1e9},
    }
    for method, chosen in fixed.items():
        for target, name in (("yes", method), ("each", f"{method}, both classes")):
            contestants[name] = lambda method=method, target=target, chosen=chosen: explain(
                model, first, method, target=target, batch_size=samples, **chosen
            )
    # MONAI takes one image at a time.
    return contestants | {
        "captum Saliency": lambda: Saliency(network).attribute(images.clone().requires_grad_(), 1),
        "captum InputXGradient": lambda: InputXGradient(network).attribute(images.clone().requires_grad_(), 1),
        "captum GuidedBackprop": lambda: GuidedBackprop(network).attribute(images.clone().requires_grad_(), 1),
        "captum NoiseTunnel": lambda: NoiseTunnel(Saliency(network)).attribute(
            one.clone().requires_grad_(), nt_samples=samples, nt_samples_batch_size=samples, stdevs=spread, target=1
        ),
        "captum IntegratedGradients": lambda: IntegratedGradients(network).attribute(one, black, 1, n_steps=samples),
        "MONAI VanillaGrad": lambda: [VanillaGrad(network)(image[None].clone(), 1) for image in images],
        "MONAI GuidedBackpropGrad": lambda: [GuidedBackpropGrad(network)(image[None].clone(), 1) for image in images],
        "MONAI SmoothGrad": lambda: SmoothGrad(network, n_samples=samples, verbose=False)(one.clone(), 1),
    }


def per_image(seconds: dict[str, list[float]], who: str, images: int, *, sampled: bool) -> float:
    """Return the cost of one image in forward passes; the sampling methods explained only one."""
    explained = 1 if sampled else images
    return median(
        (own / explained) / (all_ / images) for own, all_ in zip(seconds[who], seconds["forward"], strict=True)
    )


def kept_for_backward(run: Callable[[], Any], network: torch.nn.Module) -> int:
    """Count the bytes of all storages that autograd saved, weights and buffers left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()  # held, so that its address is not given away again
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storage.nbytes() for storage in kept.values())


if __name__ == "__main__":
    main()
