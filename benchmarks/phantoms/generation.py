"""How fast are phantom mammograms made? Prints a Markdown table of images a second.

    nice python benchmarks/phantoms/generation.py [--images 100] [--rows 256] [--columns 192]

Wall seconds, and CPU seconds of this process, whose load other processes do not change much.
"""

from __future__ import annotations

import argparse
import time

from workbench.phantoms.mammography import phantom_mammography


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 100), ("rows", 256), ("columns", 192)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    shape = (options.rows, options.columns)
    # The templates' spectra are computed once per process; leave them out.
    phantom_mammography(20, shape=shape)
    wall, cpu = time.perf_counter(), time.process_time()
    phantom_mammography(options.images, shape=shape, seed=1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print("| images | pixels | images/s | images per CPU s |\n|---|---|---|---|")
    print(
        f"| {options.images} | {options.rows} × {options.columns} | {options.images / wall:.1f} | {options.images / cpu:.1f} |"
    )


if __name__ == "__main__":
    main()
