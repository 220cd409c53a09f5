"""Where does the limit of the sanity verdict belong? Prints a Markdown table.

    nice python benchmarks/explain/sanity_limit.py [--images 40] [--epochs 3 15] [--networks compact resnet10] [--seeds 2]
        [--cases 300] [--methods gradcam …]

Small networks learn phantom mammograms; then, for each method, what maps keep of their own order while the network is
randomised ("kept once randomised", the mean over images: 1 where nothing changes, 0 where a map is as near as another
patient's). Lowest and highest over networks, epochs and seeds. A method that explains the model has to lie below 0.5,
a filter of the image above: guided backpropagation, and as the extreme the edge detector, which keeps all.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from contest import machine, quiet_and_single

import workbench as wb
from workbench.explain.quality.orders import edge_strength
from workbench.explain.quality.sanity import DECISIVE, sanity
from workbench.explain.quality.study import study_of

SETTINGS = {"smoothgrad": {"samples": 16}, "shap": {"samples": 16}}
METHODS = (
    "gradcam", "hirescam", "layercam", "saliency", "input-x-gradient", "smoothgrad", "shap", "guided-backprop", "edges",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 40), ("seeds", 2), ("cases", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 15])
    parser.add_argument("--networks", nargs="+", default=["compact", "resnet10"])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    options = parser.parse_args()
    quiet_and_single()
    wb.explain.register("edges")(lambda _network, images, _target: edge_strength(images))
    kept: dict[tuple[str, str], list[float]] = {}
    phantom = wb.load("phantom-mammography", n=options.cases, shape=(96, 72), seed=3)
    train, tune, test = phantom.split(by="patient", seed=7)
    cohort = test.subset(test.ids[: options.images])
    for network, epochs, seed in product(options.networks, options.epochs, range(options.seeds)):
        model = wb.train(train, tune, network=network, epochs=epochs, seed=seed)
        for method in options.methods:
            maps = wb.explain(model, cohort, method, target=1, **SETTINGS.get(method, {}))
            found = sanity(study_of(model, maps), seed=seed).table[DECISIVE]
            kept.setdefault((network, method), []).append(float(np.nanmean(found)))
    print(f"{machine()}\n\n## {DECISIVE}, {options.images} images; limit 0.5\n")
    print("| method | " + " | ".join(f"{network}: lowest, highest" for network in options.networks) + " |")
    print(f"|{'---|' * (len(options.networks) + 1)}")
    for method in options.methods:
        cells = [kept[network, method] for network in options.networks]
        print(f"| {method} | " + " | ".join(f"{min(own):.2f}, {max(own):.2f}" for own in cells) + " |")


if __name__ == "__main__":
    main()
