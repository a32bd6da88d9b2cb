"""Refits the illumination prior that the package ships: `python -m pipeline.commands.illumination_prior`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sheap.networks.illumination import SHIPPED_PRIOR, fit_illumination_prior, save_illumination_prior

NUM_ENVIRONMENTS = 20_000
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED_PRIOR, help="file to write (default: the shipped one)")
    path = parser.parse_args().out
    prior = fit_illumination_prior(NUM_ENVIRONMENTS, SEED)
    provenance = {"environments": str(NUM_ENVIRONMENTS), "seed": str(SEED), "made_by": "pipeline.commands.illumination_prior"}
    save_illumination_prior(prior, path, provenance)
    spread = prior.components.flatten(1).norm(dim=1)
    print(f"{path}: {len(spread)} components, standard deviations {spread[0]:.3f} .. {spread[-1]:.4f}")


if __name__ == "__main__":
    main()
