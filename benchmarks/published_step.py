"""Whether the published configuration builds and takes a training step, and what that costs in time and memory.

    python -m benchmarks.published_step [--device cuda] [--pairs 1] [--steps 3] [--preset published] [--output docs/benchmarks]

THE WEIGHTS ARE RANDOM, and so are the pictures: this measures that everything fits together, never how well it predicts.
The command writes weight files of the true layouts and sizes into a temporary folder (FaRL's ViT-B/16, DINOv2's ViT-B/14,
VGG-16 with LPIPS's linear weights; half a gigabyte, removed at the end), loads them with the loaders of the train stage, and
runs that stage's own loop (sheap.training.loop) on a batch in which every pair is rendered: forward, backward, gradient
clipping, AdamW and the moving average. Several steps, because heads that start at zero pass no gradient to the encoder in
the first; the last one is reported. Two minutes and 5 GB on one CPU core. --output also writes a page (published_step.md) and
its figures (published_step.json). Exit status 1 if a step was skipped or a part of the network got no gradient.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from benchmarks.machine import commit, reset_peak_mb, status_mb
from benchmarks.made_weights import write_dinov2, write_encoder, write_lpips
from pipeline.run.provenance import cpu_name
from pipeline.run.settings import load_params
from pipeline.run.stage import cpu_count
from pipeline.train import TrainParams
from sheap.data.batches import indexed_batches
from sheap.data.frames import Frames, Pairs
from sheap.geometry.cameras import project
from sheap.networks import head_render
from sheap.networks.config import EncoderConfig
from sheap.networks.encoder import TokenHead
from sheap.networks.gaussian_regressor import GaussianRegressor
from sheap.networks.sheap_network import TRANSLATION_UNIT, SheapNetwork
from sheap.training import loop
from sheap.training.run import build_models
from sheap.training.state import TrainingState
from sheap.training.step import Models

PARAMS_FILE = Path(__file__).parents[1] / "params.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--pairs", type=int, default=1, help="pairs of a batch, all of them rendered")
    parser.add_argument("--steps", type=int, default=3, help="at least 2; the last one is reported")
    parser.add_argument("--preset", choices=("published", "small", "tiny"), default="published")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--output", type=Path, help="a folder for published_step.md and published_step.json")
    options = parser.parse_args()
    if options.steps < 2 or options.pairs < 1:
        parser.error("--steps must be 2 or more, and --pairs 1 or more")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks.published_step: no CUDA device here", file=sys.stderr)
        return 2
    report = measure(options.preset, torch.device(options.device), options.pairs, options.steps, options.precision)
    report["command"] = " ".join(["python -m benchmarks.published_step", *sys.argv[1:]])
    text = page(report)
    print(text)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "published_step.json").write_text(json.dumps(report, indent=1) + "\n")
        (options.output / "published_step.md").write_text(text)
    if report["skipped_steps"] or not all(norm > 0 for norm in report["gradient_norms"].values()):
        print("benchmarks.published_step: a step was skipped, or a part got no gradient", file=sys.stderr)
        return 1
    return 0


def measure(preset: str, device: torch.device, pairs: int, steps: int, precision: str) -> dict[str, Any]:
    """Builds the networks from made files, trains `steps` steps, and says what the last one took."""
    torch.manual_seed(0)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        params = made_params(preset, pairs, steps, precision, Path(folder))
        models = build_models(params, device)
    state = TrainingState.start(models.network, params.training)
    build_s = time.perf_counter() - started
    held_mb = reset_peak_mb()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    clock = Clock(device)
    notes = Notes()
    with clock.watching(models, state):
        # As the train stage calls it; only what it reports is kept instead of written.
        loop.run_training(
            models, state, params.training, indexed_batches(lambda count, seed: MadePairs(models, count)), [],
            loop.Worker(device=device), notes,
        )
    record, regressor = notes.records[-1], models.network.regressor
    terms = type(params.training.weights).model_fields
    return {
        "preset": preset, "image_size": params.network().encoder.image_size, "pairs": pairs, "steps": steps,
        "precision": str(models.network.encoder.compute_dtype).removeprefix("torch."),
        "machine": machine(device),
        "build_s": build_s,
        "parameters": parameters(models),
        "gaussians": len(regressor.prototypes) if isinstance(regressor, GaussianRegressor) else 0,
        "seconds": clock.steps[-1],
        "first_step_s": clock.steps[0]["whole step"],
        "held_mb": held_mb,
        "peak_mb": status_mb("VmHWM"),
        "cuda_peak_mb": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
        "skipped_steps": state.skipped,
        "gradient_norms": clock.gradient_norms,
        "loss": record["loss"],
        "terms": {name: value for name, value in record.items() if name in terms},
    }  # fmt: skip


def made_params(preset: str, pairs: int, steps: int, precision: str, folder: Path) -> TrainParams:
    """The settings of params.yaml with this preset, one rendered batch size, and weight files made in `folder`."""
    document = load_params("train", TrainParams, PARAMS_FILE).model_dump(mode="json")
    document |= {"preset": preset, "supervision": "none", "start_from": None, "replay": {"share": 0.0}}
    training = document["training"]
    training |= {"early_stop": None, "hold_start": 0}
    training |= {"landmark_phase": {"steps": 0, "batch_size": pairs, "rendered_pairs": 0}, "precision": precision}
    training |= {"rendered_phase": {"steps": steps, "batch_size": pairs, "rendered_pairs": pairs}, "compile": False}
    training |= {"log_every": 1, "panels_every": 10**9, "checkpoint_every": 10**9, "validate_every": 10**9}
    encoder = TrainParams.model_validate(document).network().encoder
    files = {"dinov2": folder / "dinov2", "lpips_backbone": folder / "vgg16.safetensors", "lpips_linear": folder / "lpips.pth"}
    write_dinov2(files["dinov2"], base=preset == "published")
    write_lpips(files["lpips_backbone"], files["lpips_linear"])
    if isinstance(encoder, EncoderConfig) and encoder.stem == "patches":
        files["encoder"] = folder / "farl.pth"
        write_encoder(files["encoder"], encoder)
    document["weight_files"] |= {name: str(path) for name, path in files.items()}
    return TrainParams.model_validate(document)


class MadePairs(Dataset[Pairs]):
    """Pairs of noise pictures, each with a disc for a mask and the landmarks of the mean head where crops have it."""

    def __init__(self, models: Models, num_samples: int) -> None:
        self._num_samples, self._size = num_samples, models.cameras.height
        small, start = models.landmark_head, cast("TokenHead", models.network.heads["pose"]).out.bias.detach()
        with torch.no_grad():
            points = small.landmarks(small.template) + start[15:] * TRANSLATION_UNIT
            self._landmarks = np.zeros((478, 3), np.float32)
            self._landmarks[:, :2] = project(points, models.cameras)[0][0].cpu().numpy()

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> Pairs:
        rng = np.random.default_rng(index)
        rows, columns = np.mgrid[: self._size, : self._size] / self._size - 0.5
        mask = np.where(rows**2 + columns**2 < 0.16, 255, 0).astype(np.uint8)

        def frame() -> Frames:
            image = rng.integers(0, 256, (self._size, self._size, 3), dtype=np.uint8)
            return Frames.from_arrays(image, mask, self._landmarks.copy())

        return Pairs(frame(), frame())


class Notes:
    """A reporter (sheap.training.loop) that keeps the records alone."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def logged(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def checkpoint(self, state: TrainingState) -> None: ...

    def panels(self, step: int, network: SheapNetwork) -> None: ...


class Clock:
    """Seconds by part of every step, and the norms of the gradients by part in the last."""

    def __init__(self, device: torch.device) -> None:
        self.steps: list[dict[str, float]] = []
        self.gradient_norms: dict[str, float] = {}
        self._device = device
        self._began = self._forward_ended = 0.0

    @contextmanager
    def watching(self, models: Models, state: TrainingState) -> Iterator[None]:
        """Times what the loop does meanwhile, by standing in for the functions it calls."""
        network = models.network
        originals = (loop.training_step, loop.average_gradients, head_render.rasterize_splats)

        def step(*values: Any, **named: Any) -> Any:
            self.steps.append({})
            self._began = self._now()
            result = originals[0](*values, **named)
            self._forward_ended = self._now()
            self.steps[-1]["forward, whole"] = self._forward_ended - self._began
            return result

        def averaged(parameters: Iterable[nn.Parameter]) -> None:
            self.steps[-1]["backward"] = self._now() - self._forward_ended
            self.gradient_norms = {name: _gradient_norm(part) for name, part in parts(network).items()}
            originals[1](parameters)

        def drawn(*values: Any, **named: Any) -> Any:
            return self._timed("rasteriser, forward", lambda: originals[2](*values, **named))

        def average(network: SheapNetwork) -> None:
            self._timed("moving average", lambda: update(network))
            self.steps[-1]["whole step"] = self._now() - self._began

        update, starts = state.average.update, []
        watched = {"encoder": network.encoder, "regressor": network.regressor, "DINOv2": models.dinov2, "LPIPS": models.lpips}
        present = [(f"{name}, forward", module) for name, module in watched.items() if module is not None]
        hooks = [hook for name, module in present for hook in self._hooks(name, module)]
        loop.training_step, loop.average_gradients, head_render.rasterize_splats = step, averaged, drawn
        state.average.update = average
        hooks += [
            state.optimizer.register_step_pre_hook(lambda *_: starts.append(self._now())),
            state.optimizer.register_step_post_hook(lambda *_: self._add("AdamW", self._now() - starts.pop())),
        ]
        try:
            yield
        finally:
            loop.training_step, loop.average_gradients, head_render.rasterize_splats = originals
            state.average.update = update
            for hook in hooks:
                hook.remove()

    def _hooks(self, name: str, module: nn.Module) -> list[Any]:
        starts: list[float] = []

        def ended(*_: Any) -> None:
            self._add(name, self._now() - starts.pop())

        return [module.register_forward_pre_hook(lambda *_: starts.append(self._now())), module.register_forward_hook(ended)]

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        start = self._now()
        answer = work()
        self._add(name, self._now() - start)
        return answer

    def _add(self, name: str, seconds: float) -> None:
        self.steps[-1][name] = self.steps[-1].get(name, 0.0) + seconds

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def parts(network: SheapNetwork) -> dict[str, nn.Module]:
    """What trains, by part."""
    return {
        "encoder": network.encoder, "token heads": network.heads, "UV generator": network.regressor.uv_generator,
        "regressor": network.regressor,
    }  # fmt: skip


def parameters(models: Models) -> dict[str, int]:
    """Numbers of each part, frozen ones too. The regressor's do not count its UV generator's again."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts(models.network).items()}
    counts["regressor"] -= counts["UV generator"]
    counts["landmark calibration"] = sum(p.numel() for p in models.network.landmark_calibration.parameters())
    for name, module in (("DINOv2 (frozen)", models.dinov2), ("VGG-16 and LPIPS (frozen)", models.lpips)):
        counts[name] = 0 if module is None else sum(p.numel() for p in module.parameters())
    return counts


def machine(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu", "cpu": cpu_name(),
        "cores": cpu_count(), "threads": torch.get_num_threads(), "load": os.getloadavg()[0], "torch": torch.__version__,
        "commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }  # fmt: skip


def page(report: dict[str, Any]) -> str:
    """Markdown."""
    where, seconds = report["machine"], report["seconds"]
    hardware = where["cpu"] if where["device"] == "cpu" else f"{where['device']} ({where['cpu']})"
    memory = f"Peak memory of the process {report['peak_mb'] / 1024:.2f} GB, of which {report['held_mb'] / 1024:.2f} GB "
    memory += "were held before the first step (weights, moving average, frozen networks, libraries)."
    if report["cuda_peak_mb"] is not None:
        memory = f"Peak memory of the GPU {report['cuda_peak_mb'] / 1024:.2f} GB. {memory}"
    return "\n\n".join(
        [
            f"# A training step of the {report['preset']} configuration",
            f"Written by `{report['command']}`. {hardware}, torch on {where['threads']} of {where['cores']} core(s), "
            f"load {where['load']:.1f} after the run; torch {where['torch']}; commit {where['commit']}, {where['date']}.",
            "**The weights are random and the pictures are noise**: files of the true layouts and sizes, made for this run and "
            "loaded as real ones are. The page says that the configuration builds, takes steps and what they cost, and "
            "nothing about how well it predicts.",
            f"{report['image_size']} px, {report['pairs']} rendered pair(s) a batch, {report['gaussians']:,} Gaussians a head, "
            f"networks in {report['precision']}, geometry and losses in float32. Built in {report['build_s']:.0f} s, the files' "
            f"making included. Step {report['steps']} took {seconds['whole step']:.2f} s (the first, which compiles kernels, "
            f"{report['first_step_s']:.1f} s); loss {report['loss']:.3f}, {report['skipped_steps']} steps skipped.",
            memory,
            _table(("part", "parameters"), {name: f"{count:,}" for name, count in report["parameters"].items()}),
            _table(("part of the step", "seconds"), {name: f"{value:.3f}" for name, value in seconds.items()}),
            "The encoder sees source and target at once; DINOv2 sees the source (cross-attention), the render and the target. "
            "The parts named forward lie within the whole forward pass, beside head model, rigging, shading, mesh and losses.",
            _table(
                ("part", "gradient's norm before clipping"),
                {name: f"{value:.2e}" for name, value in report["gradient_norms"].items()},
            ),
        ]
    ) + "\n"  # fmt: skip


def _table(names: tuple[str, str], rows: dict[str, str]) -> str:
    return "\n".join([f"| {names[0]} | {names[1]} |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _gradient_norm(part: nn.Module) -> float:
    norms = [p.grad.norm() for p in part.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


if __name__ == "__main__":
    sys.exit(main())
